import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pokeflow import PokeflowError
from pokeflow_cards import folder as module
from pokeflow_vision import preprocessing


def test_references_are_resized_scans_in_csv_order(folder, tmp_path) -> None:
    scans = module.scans(folder.params(), tmp_path)
    assert [card.card_id for card in scans.cards] == [f"s-{i}" for i in range(24)]
    assert scans.references.shape == (24, 48, 34, 3)
    expected = Image.open(folder.root / "images" / "s-5.jpg").resize((34, 48), Image.Resampling.LANCZOS)
    assert (scans.references[5] == np.asarray(expected)).all()


def test_digest_depends_on_pixels_not_file_bytes(folder, tmp_path) -> None:
    images = folder.root / "images"
    with Image.open(images / "s-1.jpg") as image:
        image.save(images / "s-2.jpg", "PNG", comment="same pixels, other bytes")
    scans = module.scans(folder.params(), tmp_path)
    assert scans.digests[1] == scans.digests[2]
    assert len(set(scans.digests)) == 23


def test_all_colour_modes_and_orientations_are_read(folder, tmp_path, make_picture) -> None:
    images = folder.root / "images"
    picture = make_picture(1)
    picture.convert("L").save(images / "s-0.jpg")
    picture.convert("RGBA").save(images / "s-1.jpg", "PNG")
    picture.convert("P").save(images / "s-2.jpg", "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(images / "s-3.jpg", exif=exif, quality=95)
    picture.save(images / "s-4.jpg", quality=95)
    scans = module.scans(folder.params(), tmp_path)
    assert scans.left_out == ()
    upright = scans.references[3].astype(int) - scans.references[4]
    assert np.abs(upright).mean() < 6


def bomb() -> bytes:
    """Return a PNG of a few bytes whose header declares 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


HOSTILE = {
    "truncated": lambda good: good[: len(good) // 2],
    "empty": lambda _: b"",
    "text": lambda _: b"<html>404</html>",
    "noise in the middle": lambda good: good[:300] + bytes(range(256)) * 2,
    "bomb": lambda _: bomb(),
    "postscript": lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_unreadable_image_is_left_out_with_its_reason(folder, tmp_path, kind) -> None:
    image = folder.root / "images" / "s-4.jpg"
    image.write_bytes(HOSTILE[kind](image.read_bytes()))
    scans = module.scans(folder.params(), tmp_path)
    (item,) = scans.left_out
    assert (item.card_id, item.file) == ("s-4", "images/s-4.jpg")
    assert str(folder.root) not in item.reason
    assert [card.card_id for card in scans.cards] == [f"s-{i}" for i in range(24) if i != 4]
    assert len(scans.references) == len(scans.digests) == 23


def test_any_decoder_error_leaves_out_one_card(folder, tmp_path, monkeypatch) -> None:
    real = preprocessing.load_image

    def load(file):
        if file.name == "s-4.jpg":
            raise struct.error("unpack requires a buffer of 4 bytes")
        return real(file)

    monkeypatch.setattr(module, "load_image", load)
    (item,) = module.scans(folder.params(), tmp_path).left_out
    assert item.reason.startswith("not a readable image (error: unpack")


def test_link_that_leaves_the_root_is_left_out(folder, tmp_path, make_picture) -> None:
    make_picture(1).save(tmp_path / "secret.jpg")
    image = folder.root / "images" / "s-4.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "secret.jpg")
    (item,) = module.scans(folder.params(), tmp_path).left_out
    assert item.reason == "is a link that leaves the root"


def test_too_many_missing_images_fail_before_decoding(folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "load_image", None)
    for i in (1, 2):
        (folder.root / "images" / f"s-{i}.jpg").unlink()
    with pytest.raises(PokeflowError, match=r"2 of 24 cards have no usable image.*s-1.jpg: no such file.*Complete"):
        module.scans(folder.params(), tmp_path)


def test_too_many_unreadable_images_are_an_error(folder, tmp_path) -> None:
    for i in (1, 2):
        (folder.root / "images" / f"s-{i}.jpg").write_bytes(b"")
    with pytest.raises(PokeflowError, match="2 of 24 cards have no usable image"):
        module.scans(folder.params(), tmp_path)


def test_only_unreadable_images_are_an_error(folder, tmp_path) -> None:
    for file in (folder.root / "images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(PokeflowError, match="24 of 24"):
        module.scans(folder.params(), tmp_path)


def test_fewer_than_20_usable_cards_are_an_error(folder, tmp_path) -> None:
    folder.rows = folder.rows[:20]
    folder.write()
    (folder.root / "images" / "s-1.jpg").write_bytes(b"")
    with pytest.raises(PokeflowError, match=r"19 usable cards .*at least 20 are needed"):
        module.scans(folder.params(), tmp_path)
