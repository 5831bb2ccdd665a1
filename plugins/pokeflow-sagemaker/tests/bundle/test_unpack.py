"""Unpacking untrusted bundles: sound ones come out whole, hostile ones are refused."""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import tarfile
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pokeflow import ConfigError, PokeflowError
from pokeflow_sagemaker.bundle import unpack
from pokeflow_sagemaker.serving import local
from pokeflow_sagemaker.serving.params import ServeParams
from pokeflow_vision import archive


def packed(folder, members, **options):
    """Write an archive of (TarInfo or name, content) pairs, unchecked."""
    file = folder / "x.tar.gz"
    with tarfile.open(file, "w:gz", **options) as tar:
        for member, content in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file


def kind(name, type, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = type, target
    return entry


def test_a_bundle_comes_out_as_it_was_packed(served, tmp_path):
    about = unpack.unpack(served.flow.folder("bundle") / "model.tar.gz", tmp_path / "out")
    assert about["cards"] == 40
    for name in about["files"]:
        assert (tmp_path / "out" / name).read_bytes() == (served.folder / name).read_bytes()


@pytest.mark.parametrize(
    "member",
    [
        "../out", "/etc/passwd", "a/../../b", "C:/x", "a\\b",
        kind("link", tarfile.SYMTYPE, "/etc/passwd"), kind("hard", tarfile.LNKTYPE, "../x"),
        kind("device", tarfile.CHRTYPE), kind("pipe", tarfile.FIFOTYPE), kind("folder", tarfile.DIRTYPE),
    ],
)  # fmt: skip
def test_links_devices_and_escaping_paths_are_refused(tmp_path, member):
    with pytest.raises(PokeflowError, match=r"not a regular file|not a safe path|not a readable bundle"):
        unpack.unpack(packed(tmp_path, [(member, b"")]), tmp_path / "deep" / "out")
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out"}
    assert list((tmp_path / "deep" / "out").rglob("*")) == []


def test_duplicate_name_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match="occurs twice"):
        unpack.unpack(packed(tmp_path, [("a", b"1"), ("a", b"2")]), tmp_path / "out")


def test_a_bomb_is_stopped_at_the_limit(tmp_path):
    file = packed(tmp_path, [("zeros", b"\0" * 5_000_000)])
    assert file.stat().st_size < 50_000
    with pytest.raises(PokeflowError, match="unpacks to more than 1 MB"):
        unpack.unpack(file, tmp_path / "out", max_bytes=1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 1_100_000


@pytest.mark.parametrize("type", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_oversized_tar_header_is_not_read_into_memory(tmp_path, type):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = type, 3_000_000_000
    header = entry.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(header + b"\0" * 10_000))
    with pytest.raises(PokeflowError, match="a header is too large"):
        unpack.unpack(tmp_path / "x.tar.gz", tmp_path / "out")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"files": {}}, "its files differ"),
        ({"files": {"a": {"sha256": "0"}}}, "the checksum of a differs"),
        ({"files": {"a": {"sha256": "0"}, "b": {"sha256": "0"}}}, "its files differ"),
        ({}, "not a readable bundle"),
        ([], "not a readable bundle"),
        ({"files": {"a": 1}}, "not a readable bundle"),
    ],
)
def test_files_that_differ_from_bundle_json_are_refused(tmp_path, about, said):
    with pytest.raises(PokeflowError, match=said):
        unpack.unpack(packed(tmp_path, [("a", b"1"), ("bundle.json", json.dumps(about).encode())]), tmp_path / "out")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archive_writes_nothing_outside_the_folder(served, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    plain = bytearray(gzip.decompress((served.flow.folder("bundle") / "model.tar.gz").read_bytes()))
    for _ in range(data.draw(st.integers(1, 6))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    (folder / "x.tar.gz").write_bytes(gzip.compress(bytes(plain[: data.draw(st.integers(1, len(plain)))]), 1))
    with contextlib.suppress(PokeflowError):
        unpack.unpack(folder / "x.tar.gz", folder / "out")
    for path in folder.rglob("*"):
        assert path.resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"", mtime=0), gzip.compress(b"x" * 2000, mtime=0), zlib.compress(b"x")],
    ids=["empty", "no gzip", "of nothing", "no tar", "zlib"],
)
def test_file_that_is_no_archive_is_reported(tmp_path, content):
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(PokeflowError, match=r"x\.tar\.gz: not a readable bundle"):
        unpack.unpack(tmp_path / "x.tar.gz", tmp_path / "out")


def test_bundled_code_is_replaced_by_the_installed_code(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("raise SystemExit('hostile')")
    (tmp_path / "code" / "numpy.py").write_text("raise SystemExit('hostile')")
    unpack.with_own_code(tmp_path, {"top": 5})
    assert {path.name for path in (tmp_path / "code").iterdir()} == {
        "inference.py", "serve.py", "requirements.txt", "limits.json", "pokeflow", "pokeflow_vision",
    }  # fmt: skip
    assert "hostile" not in (tmp_path / "code" / "inference.py").read_text()


def bundle_members(files, /, **more):
    """Return an archive's members, with a bundle.json that describes them."""
    sums = {name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
    about = {"files": sums, "model": {"digest": "d" * 16}, "cards": 1} | more
    return [("bundle.json", json.dumps(about).encode()), *files.items()]


LIMITS = {"code/limits.json": b"{}"}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (bundle_members(LIMITS, files=[]), "its files differ from those listed"),
        (bundle_members(LIMITS, model={"digest": 5}), "values of a wrong type"),
        (bundle_members(LIMITS, model=[]), "not a readable bundle"),
        (bundle_members(LIMITS, cards="many"), "values of a wrong type"),
        (bundle_members({"model.onnx": b"x"}), "it lacks code/limits.json"),
        ([("bundle.json", b"[" * 100_000)], "recursion"),
        ([("bundle.json", b"[]")], "not a readable bundle"),
        ([("bundle.json", b" " * (archive.MAX_JSON + 1))], "the limit is 16,000,000"),
    ],
)
def test_bundle_with_invalid_description_is_refused(tmp_path, members, says):
    with pytest.raises(PokeflowError, match=says) as caught:
        unpack.unpack(packed(tmp_path, members), tmp_path / "out")
    assert str(caught.value).endswith(unpack.REMEDY)


@pytest.mark.parametrize("limits", [b"[]", b"{", b"[" * 100_000, b'{"top": "many"}', b'{"top": 0}', b'{"nope": 1}'])
def test_invalid_limits_are_reported(tmp_path, limits):
    unpack.unpack(packed(tmp_path, bundle_members({"code/limits.json": limits})), tmp_path / "out")
    with pytest.raises(PokeflowError, match="its limits are invalid"):
        local._limits(tmp_path / "out")


def test_full_disk_is_not_blamed_on_the_bundle(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpack.shutil, "copyfileobj", full)
    with pytest.raises(PokeflowError, match=r"No space left on device.*TMPDIR to another folder") as caught:
        unpack.unpack(packed(tmp_path, bundle_members(LIMITS)), tmp_path / "out")
    assert unpack.REMEDY not in str(caught.value)


@pytest.mark.parametrize("host", ["x" * 300, "no such host", "é" * 80, "256.1.1.1"])
def test_invalid_host_is_a_config_error(host):
    with pytest.raises(ConfigError, match="cannot listen on"):
        local._listen(ServeParams(host=host, port=0))
