"""Test the recognizer: the images it accepts, its answers, and the models it refuses."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFile

from pokeflow import PokeflowError
from pokeflow_testkit.images_support import Numpy, open_network
from pokeflow_vision import index, on_device, preprocessing, retrieval
from pokeflow_vision.preprocessing import ImageError
from pokeflow_vision.recognizer import ImageLimits, Match, MismatchError, open_recognizer
from pokeflow_vision.testing import data, network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a model's folder with its gallery and labels."""
    folder, drawn = tmp_path_factory.mktemp("model"), data.draw_dataset()
    network.write(folder)
    index.write(folder, index.build(drawn, network.reference_embeddings(drawn.references)))
    (folder / "labels.csv").write_bytes(index.labels(drawn.cards))
    return folder


@pytest.fixture
def recognizer(folder):
    limits = ImageLimits(max_bytes=100_000, max_pixels=90_000)
    return open_recognizer(folder, open_network, gallery=folder, labels=folder / "labels.csv", limits=limits)


def encoded(picture, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind)
    return out.getvalue()


CARD = data.draw_dataset().references[37]
FORMS = {
    "array": lambda folder: CARD,
    "pillow": lambda folder: Image.fromarray(CARD),
    "pillow with transparency": lambda folder: Image.fromarray(CARD).convert("RGBA"),
    "bytes": lambda folder: encoded(CARD),
    "bytearray": lambda folder: bytearray(encoded(CARD)),
    "path": lambda folder: written(folder / "card.png", encoded(CARD)),
}


def written(file, content):
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_an_image_give_the_same_matches(recognizer, form, tmp_path):
    matches = recognizer.recognize(FORMS[form](tmp_path), top=3)
    assert matches == recognizer.recognize(CARD, top=3)
    assert matches[0] == Match("card-37", "Card 37", "drawn", "37", pytest.approx(1, abs=1e-5))
    assert [match.score for match in matches] == sorted((match.score for match in matches), reverse=True)


def test_matches_follow_the_recognition_protocol(recognizer):
    queries = data.draw_dataset().query_images
    rows, scores = retrieval.nearest(
        network.reference_embeddings(queries), network.reference_embeddings(data.draw_dataset().references), 4
    )
    answers = recognizer.recognize_batch(queries, top=4)
    assert [[match.card_id for match in matches] for matches in answers] == [[f"card-{i}" for i in row] for row in rows]
    np.testing.assert_allclose([[match.score for match in matches] for matches in answers], scores, atol=1e-5)


def test_batch_gives_the_same_matches_as_single_images(recognizer):
    images = [*data.draw_dataset().references, encoded(CARD), Image.fromarray(CARD[:30])]
    assert len(images) > 32
    for matches, image in zip(recognizer.recognize_batch(images), images, strict=True):
        alone = recognizer.recognize(image)
        assert [match.card_id for match in matches] == [match.card_id for match in alone]
        assert [match.score for match in matches] == pytest.approx([match.score for match in alone], abs=1e-5)
    assert recognizer.recognize_batch([]) == []


def test_top_beyond_the_gallery_returns_all_cards(recognizer):
    assert len(recognizer.recognize(CARD, top=1000)) == 48


def test_answer_has_the_time_of_each_step_and_is_json(recognizer):
    answer = recognizer.answer(encoded(CARD), 1)
    document = json.loads(json.dumps(answer.as_dict()))
    assert list(document["matches"][0]) == ["card_id", "name", "set", "number", "score"]
    assert list(document["milliseconds"]) == ["decode", "detect", "preprocess", "network", "search"]
    assert all(value > 0 for value in answer.milliseconds.values())


@pytest.fixture(scope="module")
def seeking(folder):
    """Return a recognizer that seeks cards of the drawn proportions, with a threshold."""
    opened = open_recognizer(folder, open_network, gallery=folder)
    return replace(opened, gallery=replace(opened.gallery, aspect=0.75, threshold=0.9))


def photo_of(card, *, turned=0):
    """Return a photo of a card, three times as large, in front of a grey table, and the card's corners in it."""
    large = np.rot90(card.repeat(3, axis=0).repeat(3, axis=1), turned)
    scene = np.full((480, 400, 3), 120, np.uint8)
    top, left = 90, 110
    scene[top : top + large.shape[0], left : left + large.shape[1]] = large
    bottom, right = top + large.shape[0], left + large.shape[1]
    return scene, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - 0.5


def test_card_in_a_photo_is_recognized_and_outlined(seeking):
    scene, corners = photo_of(CARD)
    answer = seeking.answer(scene, 1)
    assert answer.matches[0].card_id == "card-37"
    assert answer.accepted
    assert answer.size == (400, 480)
    assert np.abs(np.array(answer.outline) - corners).max() < 6
    document = json.loads(json.dumps(answer.as_dict()))
    assert (document["accepted"], document["size"]) == (True, [400, 480])
    assert np.allclose(document["outline"], answer.outline, atol=0.05)


def test_outline_of_a_card_upside_down_begins_at_its_own_corner(seeking):
    scene, corners = photo_of(CARD, turned=2)
    answer = seeking.answer(scene, 1)
    assert answer.matches[0].card_id == "card-37"
    assert np.abs(np.array(answer.outline) - np.roll(corners, 2, 0)).max() < 6


def test_card_that_fills_the_frame_has_no_outline(seeking):
    answer = seeking.answer(CARD, 1)
    assert (answer.matches[0].card_id, answer.outline) == ("card-37", None)


def test_picture_of_no_card_is_not_accepted(seeking):
    assert seeking.answer(noise(200, 150), 1).accepted is False


def test_without_proportions_and_threshold_the_frame_is_the_card(recognizer):
    scene, _ = photo_of(CARD)
    answer = recognizer.answer(scene[::4, ::4].copy(), 1)
    assert (answer.accepted, answer.outline) == (None, None)


def test_large_jpeg_is_decoded_at_the_size_that_is_needed(seeking):
    scene, corners = photo_of(CARD)
    large = Image.fromarray(scene).resize((1600, 1920), Image.Resampling.NEAREST)
    data = io.BytesIO()
    large.save(data, "JPEG", quality=95)
    answer = seeking.answer(data.getvalue(), 1)
    assert answer.matches[0].card_id == "card-37"
    assert answer.size == (800, 960)
    assert np.abs(np.array(answer.outline) / 2 - corners).max() < 6


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "fault", "said"),
    [
        (b"x" * 100_001, "bytes", "the picture: 100,001 bytes, the limit is 100,000"),
        (encoded(np.zeros((301, 300, 3), np.uint8)), "pixels", "300×301 pixels, the limit is 90,000 in all"),
        (b"no picture", "format", "not a readable image"),
        (b"", "format", "not a readable image"),
        (encoded(CARD, "GIF"), "format", "not a readable image"),
        (encoded(CARD, "TIFF"), "format", "not a readable image"),
        (encoded(noise(64, 64))[:5000], "damaged", "not a readable image"),
        (encoded(noise(64, 64), "JPEG")[:2000], "damaged", "not a readable image"),
        (np.zeros((4, 4), np.uint8), "format", r"uint8 of shape \(4, 4\). Pass uint8 of shape H×W×3"),
        (np.zeros((4, 4, 3), np.float32), "format", "float32 of shape"),
        (np.zeros((0, 4, 3), np.uint8), "format", "of shape"),
    ],
    ids=["bytes", "pixels", "text", "empty", "gif", "tiff", "cut png", "cut jpeg", "grey", "floats", "nothing"],
)
def test_refused_image_is_reported_with_its_fault(recognizer, image, fault, said):
    with pytest.raises(ImageError, match=said) as caught:
        recognizer.recognize(image)
    assert caught.value.fault == fault


def test_too_many_pixels_are_refused_before_decoding(recognizer, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageError) as caught:
        recognizer.recognize(encoded(np.zeros((400, 300, 3), np.uint8)))
    assert caught.value.size == (300, 400)


def test_pillows_bomb_error_is_a_pixels_fault(recognizer, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="DecompressionBombError") as caught:
        recognizer.recognize(encoded(CARD))
    assert (caught.value.fault, caught.value.size) == ("pixels", None)


def test_large_or_missing_files_are_refused_unread(recognizer, tmp_path):
    (tmp_path / "large.png").write_bytes(b"x" * 100_001)
    with pytest.raises(ImageError, match=r"large\.png: 100,001 bytes, the limit is 100,000"):
        recognizer.recognize(tmp_path / "large.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "absent.png", "."):
        with pytest.raises(ImageError, match=r"no such picture\. Pass the path of a JPEG or PNG file") as caught:
            recognizer.recognize(tmp_path / name)
        assert caught.value.fault == "missing"


def test_refused_image_of_a_batch_is_numbered(recognizer):
    with pytest.raises(ImageError, match="picture 2: not a readable image"):
        recognizer.recognize_batch([CARD, b"damaged"])


def test_model_without_a_gallery_only_embeds(folder):
    recognizer = open_recognizer(folder, open_network, gallery=None)
    images = data.draw_dataset().references[:3]
    np.testing.assert_allclose(recognizer.embed(images), network.reference_embeddings(images), atol=1e-6)
    assert recognizer.embed([]).shape == (0, network.DIM)
    with pytest.raises(PokeflowError, match="no gallery to search"):
        recognizer.recognize(CARD)


def test_non_finite_embedding_is_an_error(recognizer):
    class Broken(Numpy):
        def __call__(self, prepared):
            return np.full((len(prepared), self.dim), np.nan)

    broken = replace(recognizer, network=Broken(data.SPEC))
    for ask in (broken.recognize, lambda image: broken.recognize_batch([image])):
        with pytest.raises(PokeflowError, match="an embedding that is not finite"):
            ask(CARD)


def other_index(folder, **parts):
    index.write(folder, replace(index.read(folder), **parts))


@pytest.fixture
def copy(folder, tmp_path):
    for name in ("model.onnx", "preprocessing.json", "index.npz", "labels.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("spoil", "part", "said"),
    [
        (lambda f: other_index(f, preprocessing="0123456789ab"), "preprocessing", "has preprocessing 0123456789ab"),
        (
            lambda f: other_index(f, embeddings=np.ones((48, 7), np.float32)),
            "dim",
            "returns 32 values, but the gallery has 7",
        ),
        (lambda f: (f / "labels.csv").write_text("card_id,name,set,number\n"), "labels", "lists other cards"),
    ],
    ids=["preprocessing", "dim", "labels"],
)
def test_parts_of_different_models_are_refused(copy, spoil, part, said):
    spoil(copy)
    with pytest.raises(MismatchError, match=rf"{said}.* Install it again\.") as caught:
        open_recognizer(copy, open_network, gallery=copy, labels=copy / "labels.csv", remedy="Install it again.")
    assert caught.value.part == part


def test_invalid_labels_are_refused(copy):
    (copy / "labels.csv").write_text("id,name\n1,x\n")
    with pytest.raises(PokeflowError, match="cannot read the labels"):
        open_recognizer(copy, open_network, gallery=copy, labels=copy / "labels.csv")


CARRIED = """
import json, pathlib, sys
import numpy as np
lib, model = map(pathlib.Path, sys.argv[1:])
sys.path.insert(0, str(lib))
import onnxruntime
from pokeflow_vision.onnx_network import open_network
from pokeflow_vision.recognizer import open_recognizer
opened = lambda *arguments: open_network(onnxruntime, *arguments)
recognizer = open_recognizer(model, opened, gallery=model, labels=model / "labels.csv")
ours = [module.__file__ for name, module in sys.modules.items() if name.startswith("pokeflow")]
assert all(pathlib.Path(file).is_relative_to(lib) for file in ours), ours
print(json.dumps([recognizer.recognize(pathlib.Path(name))[0].card_id for name in (model / "a.png", model / "b.jpg")]))
"""


def test_bundled_library_recognizes_without_pokeflow_installed(copy, tmp_path):
    pytest.importorskip("onnxruntime")
    lib = tmp_path / "code"
    for name, content in on_device.library("code").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    (copy / "a.png").write_bytes(encoded(data.draw_dataset().references[5]))
    (copy / "b.jpg").write_bytes(encoded(data.draw_dataset().references[11], "JPEG"))
    ran = subprocess.run([sys.executable, "-I", "-c", CARRIED, lib, copy], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == ["card-5", "card-11"]


def test_fingerprint_covers_file_names_and_contents(tmp_path):
    file = written(tmp_path / "a.py", b"x = 1")
    files = {"lib/a.py": file, "lib/__init__.py": b""}
    before = on_device.fingerprint(files)
    assert on_device.fingerprint({"lib/__init__.py": b"", "lib/a.py": b"x = 1"}) == before
    assert on_device.fingerprint({"lib/__init__.py": b"", "lib/b.py": b"x = 1"}) != before
    file.write_bytes(b"x = 2")
    assert on_device.fingerprint(files) != before


def test_missing_module_is_named():
    assert on_device.source_of("pokeflow_vision.recognizer").name == "recognizer.py"
    with pytest.raises(PokeflowError, match=r"nowhere_at_all\.network: no such module is installed"):
        on_device.source_of("nowhere_at_all.network")


def test_undecodable_picture_has_a_fault_and_a_cause(tmp_path):
    with pytest.raises(ImageError) as caught:
        preprocessing.decode(io.BytesIO(b"no picture"), "x", ("PNG",), 1000)
    assert caught.value.fault == "format"
    assert caught.value.__cause__ is not None
