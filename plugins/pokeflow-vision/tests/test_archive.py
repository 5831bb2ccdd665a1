"""Test that untrusted archives unpack to plain files below one folder only."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_vision import archive


def packed(folder, *members, mode=0o644):
    """Write an archive of names or TarInfos, each with some content."""
    file = folder / "x.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for member in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            content = b"" if entry.linkname else b"content"
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return file


def kind(name, type, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = type, target
    return entry


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_files_are_extracted_without_the_archives_mode(tmp_path, out):
    assert archive.extract(packed(tmp_path, "a", "b/c.json", mode=0o4777), out, 1_000_000) == {"a", "b/c.json"}
    assert (out / "b" / "c.json").read_bytes() == b"content"
    assert (out / "a").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize(("mode", "expected"), [(0o755, 0o755), (0o4700, 0o755), (0o644, 0o644)])
def test_executable_bit_is_kept_only_when_requested(tmp_path, out, mode, expected):
    archive.extract(packed(tmp_path, "bin/x", mode=mode), out, 1_000_000, executable=True)
    assert (out / "bin" / "x").stat().st_mode & 0o7777 == expected


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["../out"], "not a safe path"), (["/etc/passwd"], "not a safe path"), (["a/../../b"], "not a safe path"),
        (["C:/x"], "not a safe path"), (["a\\b"], "not a safe path"), (["x" * 256], "not a safe path"),
        ([kind("link", tarfile.SYMTYPE, "/etc/passwd")], "not a regular file"),
        ([kind("hard", tarfile.LNKTYPE, "../x")], "not a regular file"),
        (["a", "a"], "occurs twice"), (["a", "a/b"], "a file and a folder"),
        ([str(i) for i in range(1001)], "more than 1,000 files"),
    ],
)  # fmt: skip
def test_unsafe_archive_members_are_refused(tmp_path, out, members, said):
    with pytest.raises(ValueError, match=said):
        archive.extract(packed(tmp_path, *members), out, 10_000_000)
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar.gz", "out"}


def test_archive_that_unpacks_beyond_the_limit_is_refused(tmp_path, out):
    with pytest.raises(ValueError, match="unpacks to more than 1 MB"):
        archive.extract(packed_zeros(tmp_path), out, 1_000_000)
    assert sum(path.stat().st_size for path in out.rglob("*")) <= 1_100_000


def packed_zeros(folder):
    with tarfile.open(folder / "x.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("zeros")
        entry.size = 5_000_000
        tar.addfile(entry, io.BytesIO(b"\0" * entry.size))
    return folder / "x.tar.gz"


def test_file_that_is_no_archive_raises_its_own_error(tmp_path, out):
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(gzip.BadGzipFile):
        archive.extract(tmp_path / "x.tar.gz", out, 1_000_000)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b"x" * 2000))
    with pytest.raises(archive.UNSOUND):
        archive.extract(tmp_path / "x.tar.gz", out, 1_000_000)


@given(st.text(max_size=300))
def test_safe_name_stays_below_its_folder(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    if archive.is_safe(name):
        assert (folder / name).resolve().is_relative_to(folder.resolve())
        assert (folder / name).resolve() != folder.resolve()


def test_values_of_wrong_types_are_reported():
    archive.require_kinds("bundle.json", (str, "a"), (dict, {}))
    with pytest.raises(ValueError, match=r"bundle\.json has values of a wrong type: 5, \[\]"):
        archive.require_kinds("bundle.json", (str, 5), (int, 1), (dict, []))
