"""An unpacked bundle: what is damage, and which archives are none."""

import gzip
import json

import pytest

from pokeflow_edge.pack import archive
from pokeflow_edge.runtime import bundle as bundles
from pokeflow_edge.runtime.update.releases import ReleaseRejectedError
from pokeflow_edge.runtime.update.unpack import damage, unpack

from .conftest import bundle, tar


@pytest.fixture
def packed(tmp_path):
    """packed(**about) → an archive whose bundle.json says this."""

    def pack(**about):
        archive.write(tmp_path / "bundle.tar.gz", bundle("v1", b"model", **about), ["bin/recognize"])
        return tmp_path / "bundle.tar.gz"

    return pack


def test_an_archive_is_unpacked_into_a_new_folder_and_no_other(packed, tmp_path):
    assert unpack(packed(), tmp_path / "some" / "where")["version"] == "v1"
    assert damage(tmp_path / "some" / "where") == ""
    with pytest.raises(FileExistsError):
        unpack(packed(), tmp_path / "some" / "where")


def test_what_is_no_gzip_is_not_readable(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ReleaseRejectedError, match=r"^x\.tar\.gz: not a readable bundle \("):
        unpack(tmp_path / "x.tar.gz", tmp_path / "new")


def test_an_archive_without_a_description_is_not_sound(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(tar({"model/model": b"model"}))
    with pytest.raises(ReleaseRejectedError, match=r"not a valid bundle \(it has no bundle\.json\)"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "new")


@pytest.mark.parametrize("about", [{"files": []}, {"target": None}, {"model": {"name": ["x"]}}])
def test_a_description_of_other_types_is_not_sound(packed, tmp_path, about):
    with pytest.raises(ReleaseRejectedError, match=r"bundle\.json (has values of a wrong type|lists no files)"):
        unpack(packed(**about), tmp_path / "new")


@pytest.mark.parametrize("text", [None, b"{", b"[]", b"{}", b'{"files": 1}', b"[" * 100_000])
def test_a_description_that_cannot_be_used_is_damage(packed, tmp_path, text):
    unpack(packed(), tmp_path / "new")
    (tmp_path / "new" / "bundle.json").unlink()
    if text is not None:
        (tmp_path / "new" / "bundle.json").write_bytes(text)
    assert damage(tmp_path / "new")


def test_a_disk_that_cannot_be_read_is_damage(packed, tmp_path, monkeypatch):
    unpack(packed(), tmp_path / "new")

    def unreadable(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bundles, "faulty", unreadable)
    assert "Input/output error" in damage(tmp_path / "new")


def test_a_broken_archive_is_refused(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(json.dumps({}).encode()))
    with pytest.raises(ReleaseRejectedError, match="not a valid bundle"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "new")
