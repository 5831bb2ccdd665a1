import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from pokeflow import PokeflowError
from pokeflow_cards import catalog
from pokeflow_cards import fingerprint as module
from pokeflow_cards.params import FolderParams

OLD = time.time() - 1000


@pytest.fixture
def settled(folder):
    """Return a folder whose files are old enough for their hashes to be cached."""
    for file in folder.root.rglob("*"):
        os.utime(file, (OLD, OLD))
    return folder


@pytest.fixture
def hashed(monkeypatch) -> list[Path]:
    """Record the images that are read."""
    read: list[Path] = []
    real = module._entry
    monkeypatch.setattr(module, "_entry", lambda file: read.append(file) or real(file))
    return read


def test_fingerprint_ignores_path_and_age(settled, tmp_path) -> None:
    copy = tmp_path / "somewhere" / "else"
    shutil.copytree(settled.root, copy, copy_function=shutil.copyfile)
    moved = type(settled.params())(str(copy))
    assert module.hash_folder(moved) == module.hash_folder(settled.params())


def test_fingerprint_depends_on_images_and_csv(settled) -> None:
    seen = {module.hash_folder(settled.params())}
    image = settled.root / "images" / "s-3.jpg"
    image.write_bytes(image.read_bytes() + b"!")
    seen.add(module.hash_folder(settled.params()))
    image.unlink()
    seen.add(module.hash_folder(settled.params()))
    settled.rows[0]["artist"] = "somebody"
    settled.write()
    seen.add(module.hash_folder(settled.params()))
    assert len(seen) == 4


def test_fingerprint_ignores_unlisted_images(settled) -> None:
    before = module.hash_folder(settled.params())
    (settled.root / "images" / "other.jpg").write_bytes(b"x")
    assert module.hash_folder(settled.params()) == before


def test_swapped_images_change_the_fingerprint(settled) -> None:
    before = module.hash_folder(settled.params())
    a, b = (settled.root / "images" / f"s-{i}.jpg" for i in (1, 2))
    a.rename(a.with_suffix(".tmp"))
    b.rename(a)
    a.with_suffix(".tmp").rename(b)
    assert module.hash_folder(settled.params()) != before


def test_second_call_reads_no_image(settled, hashed) -> None:
    first = module.hash_folder(settled.params())
    assert len(hashed) == 24
    assert module.hash_folder(settled.params()) == first
    assert len(hashed) == 24


def test_only_a_changed_image_is_read_again(settled, hashed) -> None:
    module.hash_folder(settled.params())
    hashed.clear()
    os.utime(settled.root / "images" / "s-5.jpg", (OLD + 1, OLD + 1))
    module.hash_folder(settled.params())
    assert [file.name for file in hashed] == ["s-5.jpg"]


def test_image_written_just_now_is_not_cached(settled, hashed, monkeypatch) -> None:
    young = settled.root / "images" / "s-7.jpg"
    moment = young.stat().st_mtime_ns + 10 * module.RACY_NS
    os.utime(young, ns=(moment, moment))
    monkeypatch.setattr(module.time, "time_ns", lambda: moment + module.RACY_NS)
    module.hash_folder(settled.params())
    hashed.clear()
    module.hash_folder(settled.params())
    assert [file.name for file in hashed] == ["s-7.jpg"]


def test_image_written_shortly_before_is_cached(settled, hashed, monkeypatch) -> None:
    image = settled.root / "images" / "s-7.jpg"
    written = max(file.stat().st_mtime_ns for file in settled.root.rglob("*"))
    os.utime(image, ns=(written, written))
    monkeypatch.setattr(module.time, "time_ns", lambda: written + module.RACY_NS + 1)
    module.hash_folder(settled.params())
    hashed.clear()
    module.hash_folder(settled.params())
    assert hashed == []


def test_image_with_a_future_time_is_not_cached(settled, hashed) -> None:
    later = time.time() + 1e6
    os.utime(settled.root / "images" / "s-7.jpg", (later, later))
    module.hash_folder(settled.params())
    hashed.clear()
    module.hash_folder(settled.params())
    assert len(hashed) == 1


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"images/s-1.jpg": 3}', b'{"images/s-1.jpg": [1, "x", null]}']
)
def test_damaged_cache_is_ignored(settled, hashed, damage) -> None:
    first = module.hash_folder(settled.params())
    module.cache_file(catalog.root_of(settled.params())).write_bytes(damage)
    hashed.clear()
    assert module.hash_folder(settled.params()) == first
    assert len(hashed) == 24
    hashed.clear()
    assert module.hash_folder(settled.params()) == first
    assert hashed == []


def test_unwritable_cache_is_not_an_error(settled, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    first = module.hash_folder(settled.params())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert module.hash_folder(settled.params()) == first


def test_cache_is_in_the_users_cache_folder(tmp_path, monkeypatch) -> None:
    root = Path("/data/cards")
    name = f"fingerprints-{hashlib.sha256(b'/data/cards').hexdigest()[:16]}.json"
    assert module.cache_file(root) == tmp_path / "cache" / "pokeflow" / name
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module.cache_file(root) == tmp_path / ".cache" / "pokeflow" / name


def test_cache_is_replaced_without_temporary_files(settled) -> None:
    module.hash_folder(settled.params())
    file = module.cache_file(catalog.root_of(settled.params()))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    known = json.loads(file.read_text())
    assert len(known) == 24
    image = settled.root / "images" / "s-1.jpg"
    assert known["images/s-1.jpg"] == [
        image.stat().st_size,
        image.stat().st_mtime_ns,
        hashlib.sha256(image.read_bytes()).hexdigest(),
    ]


def test_limited_call_keeps_cached_hashes_of_other_cards(settled, hashed) -> None:
    module.hash_folder(settled.params())
    os.utime(settled.root / "images" / "s-5.jpg", (OLD + 1, OLD + 1))
    for limit in (20, 23, None):
        module.hash_folder(settled.params(limit=limit))
    assert len(hashed) == 25


def test_link_that_leaves_the_root_is_not_read(settled, tmp_path, hashed) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    image = settled.root / "images" / "s-1.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "secret")
    module.hash_folder(settled.params())
    assert "secret" not in {file.name for file in hashed}


def test_image_that_grows_while_read_is_an_error(settled, monkeypatch) -> None:
    real = hashlib.file_digest

    def grow(source, algorithm):
        digest = real(source, algorithm)
        with Path(source.name).open("ab") as out:
            out.write(b"more")
        return digest

    monkeypatch.setattr(hashlib, "file_digest", grow)
    with pytest.raises(PokeflowError, match="changed while it was read"):
        module.hash_folder(settled.params())


def test_missing_root_is_reported(tmp_path) -> None:
    with pytest.raises(PokeflowError, match="no such file"):
        module.hash_folder(FolderParams(str(tmp_path / "nowhere")))


def test_cached_real_cards_are_not_read_again(real_cards, hashed) -> None:
    params = FolderParams(str(real_cards))
    first = module.hash_folder(params)
    assert len(hashed) == 1407
    hashed.clear()
    assert module.hash_folder(params) == first
    assert hashed == []
