"""Bundles are unpacked and checked for damage, and invalid archives are refused."""

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
    """Return a function that writes an archive whose bundle.json has these values."""

    def pack(**about):
        archive.write(tmp_path / "bundle.tar.gz", bundle("v1", b"model", **about), ["bin/recognize"])
        return tmp_path / "bundle.tar.gz"

    return pack


def test_archive_is_unpacked_only_into_a_new_folder(packed, tmp_path):
    assert unpack(packed(), tmp_path / "some" / "where")["version"] == "v1"
    assert damage(tmp_path / "some" / "where") == ""
    with pytest.raises(FileExistsError):
        unpack(packed(), tmp_path / "some" / "where")


def test_file_that_is_no_gzip_is_refused(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ReleaseRejectedError, match=r"^x\.tar\.gz: not a readable bundle \("):
        unpack(tmp_path / "x.tar.gz", tmp_path / "new")


def test_archive_without_bundle_json_is_refused(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(tar({"model/model": b"model"}))
    with pytest.raises(ReleaseRejectedError, match=r"not a valid bundle \(it has no bundle\.json\)"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "new")


@pytest.mark.parametrize("about", [{"files": []}, {"target": None}, {"model": {"name": ["x"]}}])
def test_bundle_json_with_wrong_types_is_refused(packed, tmp_path, about):
    with pytest.raises(ReleaseRejectedError, match=r"bundle\.json (has values of a wrong type|lists no files)"):
        unpack(packed(**about), tmp_path / "new")


@pytest.mark.parametrize("text", [None, b"{", b"[]", b"{}", b'{"files": 1}', b"[" * 100_000])
def test_invalid_bundle_json_is_damage(packed, tmp_path, text):
    unpack(packed(), tmp_path / "new")
    (tmp_path / "new" / "bundle.json").unlink()
    if text is not None:
        (tmp_path / "new" / "bundle.json").write_bytes(text)
    assert damage(tmp_path / "new")


def test_read_error_is_damage(packed, tmp_path, monkeypatch):
    unpack(packed(), tmp_path / "new")

    def unreadable(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bundles, "faulty", unreadable)
    assert "Input/output error" in damage(tmp_path / "new")


def test_broken_archive_is_refused(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(json.dumps({}).encode()))
    with pytest.raises(ReleaseRejectedError, match="not a valid bundle"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "new")
