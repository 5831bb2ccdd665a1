"""Write and read the photos of a data set."""

import zipfile
from pathlib import Path

import pytest

from pokeflow import PokeflowError
from pokeflow_vision import photos
from pokeflow_vision.photos import Photo

ROWS = [Photo("test/loose/a.jpg", "loose", "a", "test"), Photo("val/empty/0.jpg", "empty", "", "val")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos.write(tmp_path, zip(ROWS, (b"first", b"second"), strict=True))
    return tmp_path


def test_photos_round_trip(folder: Path) -> None:
    assert photos.read_list(folder) == tuple(ROWS)
    assert list(photos.read(folder, ROWS[::-1])) == [b"second", b"first"]


def test_same_photos_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    photos.write(other, zip(ROWS, (b"first", b"second"), strict=True))
    for name in ("photos.csv", "photos.zip"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_no_photos_leave_no_files(tmp_path: Path) -> None:
    photos.write(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
    assert photos.read_list(tmp_path) == ()


@pytest.mark.parametrize(
    "text",
    [
        "name,condition\n1,2\n",
        "name,condition,card_id,split\n1,2\n",
        "name,condition,card_id,split,more\n1,2,3,4,5\n",
        "\xff",
    ],
)
def test_damaged_list_is_refused(folder: Path, text: str) -> None:
    (folder / "photos.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(PokeflowError, match=r"not a list of photos .*Prepare it again with force=\[data\]"):
        photos.read_list(folder)


def test_missing_photo_is_reported(folder: Path) -> None:
    with pytest.raises(PokeflowError, match=r"photos\.zip: cannot be read"):
        list(photos.read(folder, [Photo("nosuch", "loose", "a", "test")]))
    (folder / "photos.zip").unlink()
    with pytest.raises(PokeflowError, match=r"photos\.zip: cannot be read"):
        list(photos.read(folder, ROWS))


def test_compressed_photo_is_refused_unread(folder: Path) -> None:
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(ROWS[0].name, bytes(1000))
    with pytest.raises(PokeflowError, match="is compressed, or larger"):
        list(photos.read(folder, ROWS[:1]))
