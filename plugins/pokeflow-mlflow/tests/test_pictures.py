"""A registered model accepts pictures in many forms and refuses invalid ones before decoding them."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pokeflow import PokeflowError
from pokeflow_mlflow import mlmodel
from pokeflow_mlflow import pictures as module
from pokeflow_mlflow.pictures import pictures

RED = np.full((4, 3, 3), (200, 10, 10), np.uint8)


def encode(picture, kind="PNG", **options):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind, **options)
    return out.getvalue()


def test_single_and_several_pictures_are_accepted():
    assert [p.shape for p in pictures(RED)] == [(4, 3, 3)]
    assert [p.shape for p in pictures(RED.tolist())] == [(4, 3, 3)]
    assert [p.shape for p in pictures(encode(RED))] == [(4, 3, 3)]
    assert [p.shape for p in pictures([RED, RED[:2]])] == [(4, 3, 3), (2, 3, 3)]
    assert [p.shape for p in pictures(np.stack([RED] * 3))] == [(4, 3, 3)] * 3
    assert [p.shape for p in pictures([RED.tolist(), RED[:1].tolist()])] == [(4, 3, 3), (1, 3, 3)]
    assert list(pictures([])) == []


def test_files_are_decoded_upright_as_rgb():
    turned = Image.fromarray(RED)
    exif = turned.getexif()
    exif[0x0112] = 6
    out = io.BytesIO()
    turned.save(out, "JPEG", exif=exif)

    (picture,) = pictures(out.getvalue())
    assert picture.shape == (3, 4, 3)
    (grey,) = pictures(encode(np.full((2, 2), 7, np.uint8)))
    assert (grey == 7).all()
    assert grey.shape == (2, 2, 3)


def test_integers_from_json_are_accepted():
    (picture,) = pictures(np.asarray(RED, np.int64))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, RED)


def bomb():
    """Return a PNG of a few bytes that claims 60,000 × 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([RED, RED[:, :, :2]], r"picture 2: has the shape \(4, 3, 2\)"),
        (RED[:, :, 0], r"have the shape \(4, 3\)"),
        (np.float32(RED) / 255, "float32 from 0.0.* Send uint8"),
        (np.int64(RED) - 11, "Send uint8, 0 to 255"),
        (np.zeros((0, 5, 3), np.uint8), r"has the shape \(0, 5, 3\)"),
        (np.zeros((2, 2, 3), bool), "Send uint8"),
        ([[[[1, 2, 3]], [[1, 2]]]], "rows differ in length"),
        ([b"GIF89a nothing"], "picture 1: not a readable image"),
        (encode(RED, "TIFF"), "not a readable image"),
        (encode(RED, "GIF"), "not a readable image"),
        (encode(RED)[:40], "not a readable image"),
        (b"", "not a readable image"),
        (["not base64"], "Paths are not read"),
        (["/etc/passwd"], "not a readable image|Paths are not read"),
        (["file:///etc/passwd"], "Paths are not read"),
        ([None], "picture 1: has the shape"),
        ([{"a": 1, "b": 2}], "no 'image' among"),
        ({"photo": RED, "other": RED}, "no 'image' among 'photo', 'other'"),
        (7, "a int is not a picture"),
        (None, "a NoneType is not a picture"),
        ([[[[[1]]]]], "has the shape"),
        (["ünïcode"], "Paths are not read"),
    ],
)
def test_invalid_picture_is_refused_with_its_number(value, fault):
    with pytest.raises(PokeflowError, match=fault):
        list(pictures(value))


def test_decompression_bomb_is_refused_before_decoding():
    assert len(bomb()) < 100
    with pytest.raises(PokeflowError, match=r"limit|exceeds"):
        list(pictures([bomb()]))


def test_size_limits_are_checked_before_decoding(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 60)
    for large in (b"x" * 61, "A" * 90):
        with pytest.raises(PokeflowError, match="the limit is 60"):
            list(pictures([large]))
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_PIXELS", 11)
    for large in (RED, encode(RED)):
        with pytest.raises(PokeflowError, match="the limit is 11 in all"):
            list(pictures([large]))


def test_pictures_are_decoded_one_by_one():
    first = next(pictures([encode(RED), b"damaged"]))
    assert first.shape == (4, 3, 3)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=50), st.recursive(
    st.none() | st.booleans() | st.integers(-1, 300) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["image", "x"]), inner, max_size=2),
    max_leaves=30,
)))  # fmt: skip
def test_any_request_yields_pictures_or_a_pokeflow_error(value):
    try:
        result = list(pictures(value))
    except PokeflowError:
        return
    assert all(p.dtype == np.uint8 and p.ndim == 3 and p.shape[2] == 3 for p in result)


@given(st.data())
def test_damaged_file_yields_a_picture_or_a_pokeflow_error(data):
    file = bytearray(encode(RED, data.draw(st.sampled_from(["PNG", "JPEG"]))))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        (picture,) = pictures(bytes(file))
    except PokeflowError:
        return
    assert picture.dtype == np.uint8


def test_input_example_is_a_valid_picture():
    (picture,) = pictures(base64.b64encode(mlmodel.draw_card()).decode())
    assert picture.shape == (84, 60, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4
