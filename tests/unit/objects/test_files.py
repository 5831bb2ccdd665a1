"""Transfer files: hash them in pieces, replace them atomically, and name them in errors."""

import hashlib
import io
from pathlib import Path

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects import _files as files
from pokeflow.objects._base import IntegrityError


def test_a_copy_is_hashed_and_counted_piece_by_piece() -> None:
    data = b"0123456789abcdef" * 200_000
    target, passed = io.BytesIO(), list[float]()
    assert files.copy_and_hash(io.BytesIO(data), target, passed.append) == hashlib.sha256(data).hexdigest()
    assert target.getvalue() == data
    assert passed == [1 << 20] * 3 + [len(data) - (3 << 20)]


def test_bytes_are_hashed_without_a_target_and_without_progress() -> None:
    assert files.copy_and_hash(io.BytesIO(b"abc"), None, None) == hashlib.sha256(b"abc").hexdigest()
    assert files.copy_and_hash(io.BytesIO(b""), None, None) == hashlib.sha256(b"").hexdigest()


def test_file_and_folders_appear_once_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "target"
    with files.atomic_target(target) as draft:
        draft.write_bytes(b"whole")
        assert draft.parent == target.parent
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def fail_half_way() -> None:
        with files.atomic_target(target) as draft:
            draft.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_error_before_the_first_byte_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.atomic_target(tmp_path / "target"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_target_that_is_a_folder_is_reported_without_a_draft(tmp_path: Path) -> None:
    (tmp_path / "target" / "full").mkdir(parents=True)
    with (
        pytest.raises(PokeflowError, match="target: Is a directory"),
        files.atomic_target(tmp_path / "target") as draft,
    ):
        draft.write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_target_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PokeflowError, match="file/target: "), files.atomic_target(tmp_path / "file" / "target"):
        pytest.fail("there is no place for it")


def test_two_drafts_of_one_target_are_two_files(tmp_path: Path) -> None:
    with files.atomic_target(tmp_path / "x") as one, files.atomic_target(tmp_path / "x") as other:
        assert one != other
        one.write_bytes(b"1")
        other.write_bytes(b"2")


@pytest.mark.parametrize(
    ("error", "message"), [(FileNotFoundError(2, "No such file"), "x: No such file."), (OSError("odd"), "x: odd.")]
)
def test_an_error_of_the_system_names_the_file(error: OSError, message: str) -> None:
    with pytest.raises(PokeflowError) as raised, files.name_file_in_errors(Path("x")):
        raise error
    assert str(raised.value) == message
    assert raised.value.__cause__ is error


def test_error_while_using_a_file_is_not_an_opening_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    opened = []

    def fail_elsewhere() -> None:
        with files.open_for_upload(tmp_path / "source") as file:
            opened.append(file)
            assert file.read() == b"x"
            raise OSError("of the target")

    with pytest.raises(OSError, match="of the target"):
        fail_elsewhere()
    assert opened[0].closed
    with pytest.raises(PokeflowError, match="nothing: No such file"), files.open_for_upload(tmp_path / "nothing"):
        pytest.fail("there is nothing to open")


def test_checksum_error_shows_both_checksums() -> None:
    error = files.integrity_error("s3://b/a", "a" * 64, "b" * 64)
    assert isinstance(error, IntegrityError)
    assert str(error) == f"s3://b/a: the checksum is {'b' * 12}…, not {'a' * 12}…: the content changed."


def test_folder_created_by_another_process_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, is_dir = [False], Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: looks.pop() if looks else is_dir(path))
    with files.atomic_target(tmp_path / "target") as draft:
        draft.write_bytes(b"x")
    assert (tmp_path / "target").read_bytes() == b"x"
