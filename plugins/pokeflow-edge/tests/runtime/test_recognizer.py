"""An opened bundle answers pictures and rejects invalid ones; inconsistent bundles cannot be opened."""

import json
import os
import struct
import zlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

import pokeflow_onnxruntime.network as adapter
from pokeflow import Input, PokeflowError
from pokeflow_edge.runtime import recognizer
from pokeflow_edge.runtime.recognizer import ImageRejectedError
from pokeflow_vision import index, recognition, retrieval
from pokeflow_vision.network import embed
from pokeflow_vision.preprocessing import Preprocessing

from ..conftest import DIM, SPEC, card_dataset, jpeg, png


@pytest.fixture
def bundle_copy(numpy_bundle, tmp_path):
    return numpy_bundle.copy(tmp_path / "bundle")


@pytest.fixture(scope="module")
def opened(numpy_bundle):
    return recognizer.open_bundle(numpy_bundle.folder, 1)


def photo(card: int, seed: int = 0) -> np.ndarray:
    """Return a larger, noisy picture of a card."""
    noise = np.random.default_rng(seed).integers(-20, 21, (220, 160, 3))
    return (
        (np.asarray(Image.fromarray(card_dataset().references[card]).resize((160, 220))) + noise)
        .clip(0, 255)
        .astype("u1")
    )


def test_answer_has_the_card_and_the_time_of_each_step(opened):
    answer = opened.answer(jpeg(photo(7)))
    assert [match.card_id for match in answer.matches[:1]] == ["set-7"]
    assert set(answer.as_dict()["matches"][0]) == {"card_id", "name", "set", "number", "score"}
    assert answer.matches[0].name == "Pikachü 7"
    assert [match.score for match in answer.matches] == sorted((m.score for m in answer.matches), reverse=True)
    assert list(answer.milliseconds) == ["decode", "detect", "preprocess", "network", "search"]
    assert all(value > 0 for value in answer.milliseconds.values())


def test_answers_match_the_recognize_stage(onnx_bundle, tmp_path):
    """The matches are the same, in the same order, and the scores agree to a millionth."""
    opened = recognizer.open_bundle(onnx_bundle.folder, 1)
    inputs = (
        Input(SimpleNamespace(stage="compile", task="compile:small", makes_model=True), onnx_bundle.folder / "model"),
        Input(SimpleNamespace(stage="benchmark", task="benchmark:small", makes_model=False), tmp_path / "benchmark"),
    )
    (tmp_path / "benchmark").mkdir()
    SPEC.write(tmp_path / "benchmark")
    index.write(tmp_path / "benchmark", index.read(onnx_bundle.folder))
    for card in range(0, 40, 3):
        file = tmp_path / f"{card}.jpg"
        file.write_bytes(jpeg(photo(card, card)))
        task = SimpleNamespace(
            name="recognize",
            params=recognition.RecognizeParams(str(file)),
            inputs=inputs,
            input=lambda *, stage: inputs[1],
            output=tmp_path,
        )
        recognition.run(task, adapter.open_network)
        expected = json.loads((tmp_path / "matches.json").read_text(encoding="utf-8"))["matches"]
        matches = opened.read(file).matches
        assert [match.card_id for match in matches] == [match["card_id"] for match in expected]
        assert [m.score for m in matches] == pytest.approx([m["score"] for m in expected], abs=1e-6)


def test_answers_match_an_exact_search(onnx_bundle):
    opened = recognizer.open_bundle(onnx_bundle.folder, 1)
    pictures = np.stack([photo(card) for card in range(40)])
    network = adapter.open_network(onnx_bundle.folder / "model", SPEC, 1)
    queries = embed(network, pictures, range(40), SPEC, "photos")
    rows, scores = retrieval.nearest(queries, opened.recognizer.gallery.embeddings, 5)
    for picture, expected, score in zip(pictures, rows, scores, strict=True):
        matches = opened.recognize(picture).matches
        assert [match.card_id for match in matches] == [f"set-{row}" for row in expected]
        assert [match.score for match in matches] == pytest.approx(score.tolist(), abs=1e-6)


@pytest.mark.slow
@given(st.integers(0, 39), st.integers(0, 2**32 - 1))
def test_noisy_picture_is_recognized(opened, card, seed):
    assert opened.answer(png(photo(card, seed))).matches[0].card_id == f"set-{card}"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(opened, orientation):
    turn = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    image = Image.fromarray(photo(3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.asarray(image if turn is None else image.transpose(turn))
    answer = opened.answer(jpeg(stored, exif=exif))
    assert answer.matches[0].card_id == "set-3"
    assert answer.matches[0].score > 0.99


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_pngs_of_every_mode_are_read(opened, mode, tmp_path):
    picture = Image.fromarray(photo(5))
    picture = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "picture.png")
    answer = opened.read(tmp_path / "picture.png")
    assert len(answer.matches) == 5
    if mode in ("RGBA", "P"):
        assert answer.matches[0].card_id == "set-5"


def bomb(width: int, height: int) -> bytes:
    """Return a black PNG with one bit per pixel: a small file that decodes to many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" * (1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"", 422, "not a readable image"),
        (b"GIF89a" + b"\0" * 100, 422, "not a readable image"),
        (jpeg(photo(1))[:-300], 422, "not a readable image"),
        (png(photo(1))[:-300], 422, "not a readable image"),
        (png(photo(1)).replace(b"IDAT", b"IDOT", 1), 422, "not a readable image"),
        (b"\xff" * 400_001, 413, "larger than the limit of 400,000 bytes"),
        (png(np.zeros((600, 501, 3), np.uint8)), 413, "larger than the limit of 300,000 pixels"),
        (bomb(12_000, 12_000), 413, "larger than the limit of 300,000 pixels"),
        (bomb(60_000, 6_000), 413, "larger than the limit of 300,000 pixels"),
    ],
    ids=["empty", "gif", "short-jpeg", "short-png", "damaged", "bytes", "pixels", "large", "bomb"],
)
def test_invalid_or_too_large_picture_is_rejected_with_status(opened, data, status, message):
    with pytest.raises(ImageRejectedError, match=message) as refused:
        opened.answer(data)
    assert refused.value.status == status


def test_decompression_bomb_is_rejected_before_decoding(opened, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageRejectedError, match="pixels"):
        opened.answer(bomb(12_000, 12_000))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_image_formats_are_rejected(opened, kind, tmp_path):
    Image.fromarray(photo(1)).save(tmp_path / "picture", kind)
    with pytest.raises(ImageRejectedError, match="not a readable image"):
        opened.read(tmp_path / "picture")


@given(st.binary(max_size=200), st.integers(0, 3000), st.booleans())
def test_any_bytes_give_matches_or_a_rejection(opened, noise, position, whole):
    sound = jpeg(photo(2))
    data = noise if whole else sound[: position % len(sound)] + noise + sound[position % len(sound) + len(noise) :]
    status = 200
    try:
        opened.answer(data)
    except ImageRejectedError as refused:
        status = refused.status
    assert status in (200, 413, 422)


def test_path_that_is_no_file_is_rejected(opened, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing.jpg", "."):
        with pytest.raises(ImageRejectedError, match="no such picture"):
            opened.read(tmp_path / name)


def test_embedding_with_nan_is_an_error(opened):
    nothing = np.full((1, DIM), np.nan)
    broken = type("Broken", (), {"dim": DIM, "prepare": lambda _, x: x, "__call__": lambda *_: nothing})()
    one = replace(opened, recognizer=replace(opened.recognizer, network=broken))
    with pytest.raises(PokeflowError, match="an embedding that is not finite"):
        one.recognize(photo(1))


def test_arguments_override_the_limits_of_the_bundle(numpy_bundle):
    few = recognizer.open_bundle(numpy_bundle.folder, 1, top=2, max_bytes=50_000, max_pixels=None)
    assert len(few.recognize(photo(1)).matches) == 2
    assert few.limits.max_pixels == 300_000
    with pytest.raises(ImageRejectedError, match="limit of 50,000 bytes"):
        few.answer(b"\0" * 50_001)


def test_top_above_the_number_of_cards_returns_all(numpy_bundle):
    assert len(recognizer.open_bundle(numpy_bundle.folder, 1, top=1000).recognize(photo(1)).matches) == 40


def test_preprocessing_that_differs_from_the_gallery_is_refused(bundle_copy):
    Preprocessing(size=32, mean=(0.5, 0.5, 0.5)).write(bundle_copy.folder / "model")
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=r"index.npz: has preprocessing \w{12}, but the model has \w{12}"):
        recognizer.open_bundle(bundle_copy.folder)


def test_preprocessing_that_differs_from_bundle_json_is_refused(bundle_copy):
    bundle_copy.edit(preprocessing="0123456789ab")
    with pytest.raises(PokeflowError, match=r"bundle.json: has preprocessing 0123456789ab"):
        recognizer.open_bundle(bundle_copy.folder)


def test_edited_preprocessing_is_refused(bundle_copy):
    file = bundle_copy.folder / "model" / "preprocessing.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"size": 32', '"size": 64'), encoding="utf-8")
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match="it was edited or damaged"):
        recognizer.open_bundle(bundle_copy.folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("set-7,", "set-8,", "lists other cards"), ("Pikachü 7,", "Pikachu,", "lists other cards"),
     ("card_id", "card", "cannot read the labels"), ("ü", "\udcfc", "cannot read the labels")],
)  # fmt: skip
def test_labels_that_do_not_match_the_gallery_are_refused(bundle_copy, old, new, message):
    file = bundle_copy.folder / "labels.csv"
    text = file.read_text(encoding="utf-8").replace(old, new)
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=message):
        recognizer.open_bundle(bundle_copy.folder)


def test_embedding_length_that_differs_is_refused(bundle_copy):
    np.save(bundle_copy.folder / "model" / "weights.npy", np.zeros((48, 8), np.float32))
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match="the network returns 8 values, but the gallery has 24"):
        recognizer.open_bundle(bundle_copy.folder)


def test_model_that_fails_the_self_test_is_refused(bundle_copy):
    weights = np.random.default_rng(99).normal(0, 0.2, (48, DIM)).astype(np.float32)
    np.save(bundle_copy.folder / "model" / "weights.npy", weights)
    bundle_copy.edit(requires=["small>=1"])
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=r"at least 0\.95 is expected\)\. Install another version of small>=1"):
        recognizer.open_bundle(bundle_copy.folder)


@pytest.mark.parametrize(
    ("parts", "message"),
    [({"squares": np.zeros((2, 32, 32, 3), "u1")}, "not a readable self-test"),
     ({"squares": np.zeros((0, 32, 32, 3), "u1"), "embeddings": np.zeros((0, DIM))}, "self-test|arrays uint8"),
     ({"squares": np.zeros((1, 16, 16, 3), "u1"), "embeddings": np.zeros((1, DIM))}, "self-test|arrays uint8"),
     ({"squares": np.uint8(1), "embeddings": np.zeros((1, DIM))}, "unexpected arrays uint8"),
     ({"squares": np.array([object()]), "embeddings": np.zeros((1, DIM))}, "not a readable self-test")],
)  # fmt: skip
def test_malformed_self_test_is_refused_and_not_unpickled(bundle_copy, parts, message):
    np.savez(bundle_copy.folder / "selftest.npz", **parts)
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=message):
        recognizer.open_bundle(bundle_copy.folder)


@pytest.mark.parametrize("content", [b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((((", b"PK\x03\x04 no archive", b""])
def test_damaged_self_test_is_refused(bundle_copy, content):
    (bundle_copy.folder / "selftest.npz").write_bytes(content)
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match="not a readable self-test"):
        recognizer.open_bundle(bundle_copy.folder)


def test_compressed_self_test_is_refused(bundle_copy):
    squares = np.zeros((1000, 32, 32, 3), np.uint8)
    np.savez_compressed(
        bundle_copy.folder / "selftest.npz", squares=squares, embeddings=np.zeros((1000, DIM), np.float32)
    )
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=r"not a readable self-test.*compressed"):
        recognizer.open_bundle(bundle_copy.folder)


@pytest.mark.parametrize(
    ("code", "message"),
    [("def (", "SyntaxError"), ("raise KeyError('x')", "KeyError"), ("import sys; sys.exit(0)", "SystemExit"),
     ("open_network = None", "no function open_network")],
)  # fmt: skip
def test_invalid_adapter_is_reported(bundle_copy, code, message):
    (bundle_copy.folder / "lib" / "pokeflow_small" / "network.py").write_text(code, encoding="utf-8")
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=message):
        recognizer.open_bundle(bundle_copy.folder)


def test_missing_runtime_is_named(bundle_copy):
    file = bundle_copy.folder / "lib" / "pokeflow_small" / "network.py"
    file.write_text("import hailo_platform_of_nobody\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    bundle_copy.edit(requires=["hailort>=4.20"])
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match=r"cannot be loaded \(No module named .*\). Install hailort>=4.20"):
        recognizer.open_bundle(bundle_copy.folder)


def test_adapter_of_the_bundle_wins_over_an_installed_one(bundle_copy, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pokeflow_small.network", SimpleNamespace(open_network=None))
    assert recognizer.open_bundle(bundle_copy.folder, 1).recognize(photo(4)).matches[0].card_id == "set-4"


def test_damaged_gallery_is_refused(bundle_copy):
    (bundle_copy.folder / "index.npz").write_bytes(b"PK\x03\x04 no archive")
    bundle_copy.record_files()
    with pytest.raises(PokeflowError, match="not a readable index"):
        recognizer.open_bundle(bundle_copy.folder)
