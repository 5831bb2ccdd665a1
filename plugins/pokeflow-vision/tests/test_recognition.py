"""Test stage recognize: the nearest cards of a picture, and refusal of unreadable pictures."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pokeflow import PokeflowError
from pokeflow_testkit.images_support import Numpy, finished, open_network
from pokeflow_vision import index, recognition
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.recognition import RecognizeParams
from pokeflow_vision.testing import data, network


@pytest.fixture
def gallery(stage):
    """Return a benchmark's output folder with the index and its preprocessing."""
    folder, drawn = stage.folder("benchmark"), data.draw_dataset()
    index.write(folder, index.build(drawn, network.reference_embeddings(drawn.references)))
    data.SPEC.write(folder)
    return folder


@pytest.fixture
def recognize(stage, gallery):
    """recognize(picture) → matches.json and the result."""

    def run(image, top=5, open_network=open_network):
        params = RecognizeParams(str(image), top)
        task = stage.task("recognize", params, stage.model(), finished("benchmark", "optimized", gallery))
        result = recognition.run(task, open_network)
        return json.loads((task.output / "matches.json").read_text()), result

    return run


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "card.png"
    Image.fromarray(data.draw_dataset().references[37]).save(file)
    return file


def test_exact_reference_is_the_first_match(recognize, picture):
    answer, result = recognize(picture)
    assert answer["matches"][0] == {
        "card_id": "card-37", "name": "Card 37", "set": "drawn", "number": "37", "score": pytest.approx(1, abs=1e-5)
    }  # fmt: skip
    scores = [match["score"] for match in answer["matches"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert answer["preprocessing"] == result.facts["preprocessing"] == data.SPEC.hash
    assert answer["seconds"] > 0
    assert result.metrics["score"] == scores[0]


def test_resized_jpeg_matches_its_card(recognize, tmp_path):
    file = tmp_path / "card.jpg"
    Image.fromarray(data.draw_dataset().references[12]).resize((240, 330)).save(file, quality=90)
    assert recognize(file)[0]["matches"][0]["card_id"] == "card-12"


def test_top_limits_the_matches(recognize, picture):
    assert len(recognize(picture, top=1)[0]["matches"]) == 1
    assert len(recognize(picture, top=1000)[0]["matches"]) == 48


def test_gallery_of_other_preprocessing_is_refused(recognize, picture, gallery):
    Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).write(gallery)
    with pytest.raises(PokeflowError, match=r"preprocessing .* differs"):
        recognize(picture)


def test_index_of_other_preprocessing_is_refused(recognize, picture, gallery):
    index.write(gallery, dataclasses.replace(index.read(gallery), preprocessing="0123456789ab"))
    with pytest.raises(PokeflowError, match="index has preprocessing 0123456789ab"):
        recognize(picture)


def test_index_of_another_model_is_refused(recognize, picture):
    with pytest.raises(PokeflowError, match="embeddings of 32 values, but the model returns 25"):
        recognize(picture, open_network=lambda folder, spec, threads: Numpy(spec, dim=25))


def test_index_with_pickled_objects_is_refused(recognize, picture, gallery):
    np.savez(gallery / "index.npz", embeddings=np.asarray([{}], object))
    with pytest.raises(PokeflowError, match="not a readable index"):
        recognize(picture)


def bomb(folder):
    """Write the start of a small PNG whose header declares 60,000 × 60,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    (folder / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    return folder / "bomb.png"


def text(folder):
    (folder / "card.jpg").write_text("no picture")
    return folder / "card.jpg"


def truncated(folder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(content[: len(content) // 2])
    return folder / "half.jpg"


def empty(folder):
    (folder / "empty.png").touch()
    return folder / "empty.png"


def pipe(folder):
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


@pytest.mark.parametrize(
    "make", [bomb, text, truncated, empty, pipe, lambda folder: folder, lambda folder: folder / "absent.png"]
)
def test_unreadable_pictures_are_refused_by_name(recognize, tmp_path, make):
    file = make(tmp_path)
    with pytest.raises(PokeflowError, match=file.name):
        recognize(file)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["png", "jpeg", "gif", "webp", "bmp", "tiff"]), damage=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_picture_is_recognized_or_refused(recognize, tmp_path, kind, damage):
    file = tmp_path / f"damaged.{kind}"
    Image.fromarray(data.draw_dataset().references[0]).save(file, kind)
    content = bytearray(file.read_bytes())
    for _ in range(damage.draw(st.integers(1, 4))):
        content[damage.draw(st.integers(0, len(content) - 1))] = damage.draw(st.integers(0, 255))
    file.write_bytes(bytes(content[: damage.draw(st.integers(1, len(content)))]))
    try:
        assert recognize(file)[0]["matches"]
    except PokeflowError as error:
        assert "damaged" in str(error)  # noqa: PT017 - either outcome is right


def test_fingerprint_depends_on_the_picture(picture, tmp_path):
    fingerprint = recognition.fingerprint
    before = fingerprint(RecognizeParams(str(picture)))
    picture.rename(tmp_path / "same.png")
    assert fingerprint(RecognizeParams(str(tmp_path / "same.png"))) == before
    Image.new("RGB", (9, 9)).save(tmp_path / "same.png")
    assert fingerprint(RecognizeParams(str(tmp_path / "same.png"))) != before
    with pytest.raises(PokeflowError, match="no such picture"):
        fingerprint(RecognizeParams(str(tmp_path)))


def test_invalid_parameters_are_reported(picture):
    assert list(recognition.check(RecognizeParams(str(picture)))) == []
    faults = dict(recognition.check(RecognizeParams("absent.png", 0)))
    assert faults == {"top": "0 is below 1", "image": "no file 'absent.png'"}
