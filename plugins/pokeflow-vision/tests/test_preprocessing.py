"""Test the preprocessing spec, and decoding and resizing of pictures."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from pokeflow import PokeflowError
from pokeflow_vision import preprocessing
from pokeflow_vision.preprocessing import Preprocessing


def test_hash_depends_on_the_values() -> None:
    assert Preprocessing().hash == Preprocessing().hash
    # Pinned: models and data sets of earlier versions contain it.
    assert Preprocessing().hash == "702bb3cbdb9b"
    others = [Preprocessing(96), Preprocessing(mean=(0.5, 0.5, 0.5)), Preprocessing(std=(0.5, 0.5, 0.5))]
    assert len({Preprocessing().hash, *(o.hash for o in others)}) == 4
    # YAML may say 0 for 0.0.
    assert Preprocessing(mean=(0, 0, 0)).hash == Preprocessing(mean=(0.0, 0.0, 0.0)).hash


def test_spec_round_trips_and_an_edited_one_is_refused(tmp_path: Path) -> None:
    spec = Preprocessing(96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    spec.write(tmp_path)
    assert preprocessing.read(tmp_path) == spec
    text = (tmp_path / "preprocessing.json").read_text()
    raw = json.loads(text)
    assert raw == {"size": 96, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "hash": spec.hash}
    assert text == json.dumps(raw, indent=2) + "\n"
    (tmp_path / "preprocessing.json").write_text(json.dumps({**raw, "size": 97}))
    with pytest.raises(PokeflowError, match="edited or damaged"):
        preprocessing.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", '{"size": "x"}', "null", '{"size": 1, "mean": [1], "std": [1], "hash": 1}'])
def test_invalid_spec_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "preprocessing.json").write_text(text)
    with pytest.raises(PokeflowError, match="cannot read the preprocessing spec"):
        preprocessing.read(tmp_path)
    (tmp_path / "preprocessing.json").unlink()
    with pytest.raises(
        PokeflowError, match=r"preprocessing\.json: cannot read the preprocessing spec \(.*No such file"
    ):
        preprocessing.read(tmp_path)


def test_different_preprocessing_is_refused() -> None:
    preprocessing.require_same(Preprocessing(), Preprocessing(), "x")
    with pytest.raises(PokeflowError, match=r"x: preprocessing .* differs"):
        preprocessing.require_same(Preprocessing(), Preprocessing(mean=(0.0, 0.0, 0.0)), "x")


def test_normalize_applies_the_formula_per_channel() -> None:
    spec = Preprocessing(2, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    squares = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), np.uint8)
    normalized = preprocessing.normalize(squares, spec)
    assert (normalized.shape, normalized.dtype, normalized.flags.c_contiguous) == ((3, 3, 2, 2), np.float32, True)
    for n, channel, row, column in np.ndindex(normalized.shape):
        wanted = (squares[n, row, column, channel] / 255 - spec.mean[channel]) / spec.std[channel]
        assert normalized[n, channel, row, column] == pytest.approx(wanted, abs=1e-6)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_any_picture_becomes_a_square(image: np.ndarray) -> None:
    square = preprocessing.to_square([image], Preprocessing(8))
    assert square.shape == (1, 8, 8, 3)
    assert square.min() >= image.min()
    assert square.max() <= image.max()


def quarters(height: int, width: int) -> np.ndarray:
    """Return a picture whose quarters are red, green, blue and white, clockwise from the upper left."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255, 0, 0
    picture[: height // 2, width // 2 :] = 0, 255, 0
    picture[height // 2 :, width // 2 :] = 0, 0, 255
    picture[height // 2 :, : width // 2] = 255, 255, 255
    return picture


@pytest.mark.parametrize(("height", "width"), [(40, 24), (24, 40), (8, 8), (4, 6)])
@pytest.mark.parametrize("kind", [np.asarray, Image.fromarray])
def test_orientation_of_the_picture_is_kept(height, width, kind) -> None:
    (square,) = preprocessing.to_square([kind(quarters(height, width))], Preprocessing(8))
    corners = np.ix_((0, -1), (0, -1))
    np.testing.assert_array_equal(square[corners], quarters(2, 2))


def test_squares_keep_the_order_of_their_pictures() -> None:
    pictures = [np.full((6, 4, 3), value, np.uint8) for value in (10, 20, 30)]
    assert preprocessing.to_square(pictures, Preprocessing(2))[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_resizing_weighs_pixels_by_distance() -> None:
    row = np.repeat(np.array([0, 0, 255, 255], np.uint8)[None, :, None], 3, axis=2)
    (square,) = preprocessing.to_square([row.repeat(4, axis=0)], Preprocessing(2))
    # Inputs at distances 0.5, 0.5 and 1.5 of two pixels weigh 3 : 3 : 1.
    assert square[0, :, 0].tolist() == [round(255 / 7), round(255 * 6 / 7)]


def test_picture_of_the_right_size_is_not_resampled() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(preprocessing.to_square([picture], Preprocessing(8))[0], picture)


def test_picture_is_rotated_by_exif_and_read_as_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(quarters(2, 4)).convert("RGBA")
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was rotated: show it rotated clockwise
    image.save(tmp_path / "x.png", exif=exif)
    pixels = preprocessing.load_image(tmp_path / "x.png")
    assert (pixels.shape, pixels.dtype) == ((4, 2, 3), np.uint8)
    np.testing.assert_array_equal(pixels, np.rot90(quarters(2, 4), -1))


FORMATS = [
    *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
    *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
    *((name, "RGB") for name in ("WEBP", "TIFF", "MPO", "BMP", "GIF")),
]


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize(("name", "mode"), FORMATS)
def test_decoding_matches_pillow_for_every_format(name: str, mode: str, turned: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (9, 14, 3), np.uint8)
    image, held = Image.fromarray(noise).convert(mode), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = turned
    image.save(held, name, **({} if name in ("BMP", "GIF") else {"exif": exif}))
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(held.getvalue()))).convert("RGB")
    pixels = preprocessing.decode(io.BytesIO(held.getvalue()), "x", preprocessing.FORMATS, 1000)
    assert np.array_equal(pixels, np.asarray(wanted))
    square = preprocessing.decode_pillow(io.BytesIO(held.getvalue()), "x", preprocessing.FORMATS, 1000)
    spec = Preprocessing(8)
    assert np.array_equal(preprocessing.to_square([square], spec), preprocessing.to_square([pixels], spec))


def encoded(width: int, height: int, kind: str = "PNG", mode: str = "L") -> io.BytesIO:
    held = io.BytesIO()
    Image.effect_noise((width, height), 50).convert(mode).save(held, kind)
    held.seek(0)
    return held


def fault_of(source: Path | io.BytesIO, max_pixels: int = 10_000) -> preprocessing.ImageError:
    with pytest.raises(preprocessing.ImageError, match=r"^x\.jpg: ") as raised:
        preprocessing.decode(source, "x.jpg", preprocessing.FORMATS, max_pixels)
    return raised.value


def test_pixel_limit_is_inclusive() -> None:
    assert preprocessing.decode(encoded(50, 20), "x", ("PNG",), 1000).shape == (20, 50, 3)
    error = fault_of(encoded(50, 21), 1000)
    assert (error.fault, error.size) == ("pixels", (50, 21))
    assert str(error) == "x.jpg: 50×21 pixels, the limit is 1,000 in all."


def test_default_limits_apply_to_files(tmp_path, monkeypatch) -> None:
    assert preprocessing.MAX_PIXELS == 120_000_000
    assert preprocessing.PILLOW_LIMIT == 2 * Image.MAX_IMAGE_PIXELS
    (tmp_path / "x.png").write_bytes(encoded(50, 20).getvalue())
    monkeypatch.setattr(preprocessing, "MAX_PIXELS", 999)
    with pytest.raises(preprocessing.ImageError, match="the limit is 999"):
        preprocessing.load_image(tmp_path / "x.png")


def test_pillows_own_limit_is_a_pixels_fault(monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    assert preprocessing.decode(encoded(50, 20), "x", ("PNG",), 2000).shape == (20, 50, 3)
    error = fault_of(encoded(50, 40), 2000)
    assert (error.fault, error.size) == ("pixels", None)
    assert "DecompressionBombError" in str(error)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"II*\0" + bytes(20)])
def test_bytes_that_are_no_picture_are_a_format_fault(content) -> None:
    error = fault_of(io.BytesIO(content))
    assert (error.fault, error.size) == ("format", None)
    assert "not a readable image" in str(error)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_truncated_picture_is_a_damaged_fault(mode: str) -> None:
    whole = encoded(64, 64, "JPEG", mode).getvalue()
    error = fault_of(io.BytesIO(whole[: len(whole) // 2]))
    assert error.fault == "damaged"
    assert re.search(r"not a readable image \(\w+: .*truncated", str(error))


def test_format_that_is_not_accepted_is_a_format_fault() -> None:
    with pytest.raises(
        preprocessing.ImageError, match=r"^x: not a readable image \(of an unknown format\)\.$"
    ) as raised:
        preprocessing.decode(encoded(4, 4), "x", ("JPEG",), 100)
    assert raised.value.fault == "format"


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_path_without_a_file_is_refused_with_its_name(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.jpg"
    if kind == "folder":
        file.mkdir()
    with pytest.raises(preprocessing.ImageError, match=re.escape(f"{file}: not a readable image (")):
        preprocessing.load_image(file)


def test_format_that_runs_other_programs_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    Image.new("RGB", (4, 4)).save(file, "EPS")
    with pytest.raises(PokeflowError, match="not a readable image"):
        preprocessing.load_image(file)
