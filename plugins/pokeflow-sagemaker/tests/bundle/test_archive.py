"""Archives depend only on their content, and their names stay inside the folder."""

import gzip
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_sagemaker.bundle import archive


def test_archive_bytes_depend_only_on_content(tmp_path):
    for name, time in (("one", 0), ("other", 10**9)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "weights"
        file.write_bytes(bytes(range(256)) * 5000)
        file.chmod(0o600 if time else 0o755)
        os.utime(file, (time, time))
    first = {"a/weights": tmp_path / "one" / "weights", "b": b"text"}
    second = {"b": b"text", "a/weights": tmp_path / "other" / "weights"}
    archive.write(tmp_path / "one" / "x.tar.gz", first)
    archive.write(tmp_path / "other" / "y.tar.gz", second)
    assert (tmp_path / "one" / "x.tar.gz").read_bytes() == (tmp_path / "other" / "y.tar.gz").read_bytes()


def test_entries_are_sorted_and_have_no_owner_or_time(tmp_path):
    archive.write(tmp_path / "x.tar.gz", {"b/c": b"1", "a": b"22", "b/a": b""})
    assert (tmp_path / "x.tar.gz").read_bytes()[3:8] == b"\0" * 5  # gzip: no name, no time
    with tarfile.open(tmp_path / "x.tar.gz") as packed:
        entries = packed.getmembers()
        assert packed.extractfile("a").read() == b"22"
    assert [entry.name for entry in entries] == ["a", "b/a", "b/c"]
    attributes = {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode, e.isreg()) for e in entries}
    assert attributes == {(0, 0, 0, "", "", 0o644, True)}


def test_progress_counts_every_byte(tmp_path):
    counts = []
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    archive.write(tmp_path / "x.tar.gz", {"a": tmp_path / "file", "b": b"22"}, counts.append)
    assert sum(counts) == 100_002


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../../b", "a//b", "./a", "a/", "", "..", "a\\b", "C:/a", "a\nb", "a\0"]
)
def test_unsafe_name_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(PokeflowError, match="not a safe path"):
        archive.write(tmp_path / "x.tar.gz", {name: b""})
    assert list(tmp_path.iterdir()) == []


@given(st.text(st.sampled_from("ab./\\: \n"), max_size=12))
def test_accepted_name_unpacks_inside_the_folder(tmp_path_factory, name):
    try:
        archive.require_name(name)
    except PokeflowError:
        return
    folder = tmp_path_factory.getbasetemp() / "names"
    assert (folder / name).resolve().is_relative_to(folder.resolve())
    assert (folder / name).resolve() != folder.resolve()


def test_file_that_shrinks_while_packing_is_reported(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)

    def shrink(_):
        os.truncate(file, 10)

    with pytest.raises(PokeflowError, match=r"file: cannot be packed"):
        archive.write(tmp_path / "x.tar.gz", {"a": file}, shrink)


def test_archive_is_gzip_of_whole_tar_blocks(tmp_path):
    archive.write(tmp_path / "x.tar.gz", {"a": b"1"})
    assert len(gzip.decompress((tmp_path / "x.tar.gz").read_bytes())) % 512 == 0
