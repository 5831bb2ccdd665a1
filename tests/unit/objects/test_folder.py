"""Keep objects in a folder: with atomic writes, keys that stay inside, and conditions that hold."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from pokeflow.errors import PokeflowError
from pokeflow.objects import _folder as module
from pokeflow.objects._base import ABSENT, IntegrityError, NotFoundError, PreconditionError
from pokeflow.objects._folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "root")


@pytest.fixture(autouse=True)
def _unswept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_swept", {})


def keys(folder: Folder) -> list[str]:
    return [entry.key for entry in folder.list()]


def drafts(folder: Folder) -> list[str]:
    return [path.name for path in (folder.root / ".pokeflow" / "drafts").iterdir()]


def test_reading_creates_nothing(folder: Folder) -> None:
    assert list(folder.list()) == []
    assert folder.stat("a") is None
    folder.delete("a")
    with pytest.raises(NotFoundError):
        folder.read("a")
    assert not folder.root.exists()


def test_drafts_and_locks_are_kept_in_the_root(folder: Folder) -> None:
    inside = folder.with_prefix("some").with_prefix("tree")
    inside.write("a/b", b"1", match=None)
    assert {path.name for path in folder.root.iterdir()} == {".pokeflow", "some"}
    assert {path.name for path in (folder.root / "some" / "tree").iterdir()} == {"a"}
    assert drafts(folder) == []


def test_reserved_folder_is_refused_as_a_key(folder: Folder) -> None:
    folder.write("a", b"", match=None)
    for key in (".pokeflow/drafts/x", "a/.pokeflow/x", ".POKEFLOW"):
        with pytest.raises(PokeflowError, match="reserved for drafts"):
            folder.write(key, b"", match=None)
    assert keys(folder) == ["a"]


def test_links_and_devices_are_no_objects(folder: Folder, tmp_path: Path) -> None:
    folder.write("a/file", b"mine", match=None)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (folder.root / "a" / "link").symlink_to(secret)
    (folder.root / "a" / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder.root / "a" / "pipe")
    assert keys(folder) == ["a/file"]
    for key in ("a/link", "a/dangling", "a/pipe"):
        assert folder.stat(key) is None
        with pytest.raises(NotFoundError):
            folder.read(key)
        with pytest.raises(PokeflowError, match="Remove it"):
            folder.write(key, b"", match=ABSENT)
        with pytest.raises(PokeflowError, match="Remove it"):
            folder.write(key, b"", match=None)
    assert secret.read_bytes() == b"secret"


def test_a_linked_folder_leads_nowhere(folder: Folder, tmp_path: Path) -> None:
    folder.write("a", b"", match=None)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (folder.root / "way").symlink_to(outside)
    assert keys(folder) == ["a"]
    for ask in (
        lambda: folder.read("way/file"),
        lambda: folder.stat("way/file"),
        lambda: folder.write("way/new/deep", b"", match=None),
        lambda: folder.with_prefix("way").write("new", b"", match=ABSENT),
        lambda: folder.delete("way/file"),
        lambda: folder.download("way/file", tmp_path / "target"),
        lambda: list(folder.list("way/")),
    ):
        with pytest.raises(PokeflowError, match="Links are not followed"):
            ask()
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert not (tmp_path / "target").exists()


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    folder = Folder(tmp_path / "root")
    folder.write("a/b", b"1", match=ABSENT)
    assert folder.read("a/b")[0] == b"1"
    assert keys(folder.with_prefix("a")) == ["b"]


def test_file_names_that_are_no_keys_are_skipped_and_reported(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    folder.write("a", b"", match=None)
    (folder.root / "new\nline").write_bytes(b"")
    assert keys(folder) == ["a"]
    assert "is skipped" in caplog.text


def test_two_writes_in_one_moment_have_two_etags(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write twice quickly: inodes are reused at once, and the system's times have steps of milliseconds."""
    assert len({folder.write("a", b"same", match=None) for _ in range(200)}) == 200


def test_time_of_a_write_is_exact(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of many file systems has steps of milliseconds, in which two writes would look the same."""
    monkeypatch.setattr(module.time, "time_ns", lambda: 1_700_000_000_123_456_789)
    folder.write("a", b"", match=None)
    assert folder.path("a").stat().st_mtime_ns == 1_700_000_000_123_456_789


@pytest.mark.parametrize("match", [None, ABSENT, "etag"])
def test_a_killed_write_leaves_the_old_bytes(folder: Folder, monkeypatch: pytest.MonkeyPatch, match: str) -> None:
    etag = folder.write("a", b"old", match=None)

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.write("a" if match != ABSENT else "b", b"new", match=etag if match == "etag" else match)
    assert folder.read("a") == (b"old", etag)
    assert keys(folder) == ["a"]
    assert drafts(folder) == []


def test_drafts_of_the_killed_go_after_an_hour(folder: Folder) -> None:
    folder.write("a", b"", match=None)
    for name, age in (("young", 60), ("old", 3700)):
        draft = folder.root / ".pokeflow" / "drafts" / name
        draft.write_bytes(b"")
        os.utime(draft, (time.time() - age,) * 2)
    module._swept.clear()
    folder.write("b", b"", match=None)
    assert drafts(folder) == ["young"]


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_without_hard_links_absent_still_means_absent(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def link(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", link)
    folder.write("a/b", b"1", match=ABSENT)
    with pytest.raises(PreconditionError):
        folder.write("a/b", b"2", match=ABSENT)
    assert folder.read("a/b")[0] == b"1"


def test_file_in_the_path_of_a_folder_is_reported(folder: Folder) -> None:
    folder.write("a", b"", match=None)
    with pytest.raises(PokeflowError, match=r"a/b: .*/a is a file, but must be a folder"):
        folder.write("a/b", b"", match=None)
    with pytest.raises(PokeflowError, match=r"a/b/c/d: .*/root/a is a file, but must be a folder"):
        folder.write("a/b/c/d", b"", match=ABSENT)


def test_folder_in_the_path_of_a_file_is_reported(folder: Folder) -> None:
    folder.write("a/b", b"", match=None)
    for match in (None, ABSENT, "etag"):
        with pytest.raises(PokeflowError, match=r"/a: not a regular file \(a folder"):
            folder.write("a", b"", match=match)
    assert keys(folder) == ["a/b"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_the_system_s_errors_name_the_file(folder: Folder, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def fsync(_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(PokeflowError, match=f"root/a/b: {os.strerror(error)}"):
        folder.write("a/b", b"", match=None)
    assert keys(folder) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder_is_reported(folder: Folder) -> None:
    folder.write("a/b", b"", match=None)
    (folder.root / "a").chmod(0o500)
    with pytest.raises(PokeflowError, match="root/a/c: Permission denied"):
        folder.write("a/c", b"", match=None)
    (folder.root / "a").chmod(0o700)


def test_missing_source_is_reported(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(PokeflowError, match="nothing: No such file"):
        folder.upload(tmp_path / "nothing", "a", sha256="0" * 64, match=None)
    assert keys(folder) == []


def test_target_below_a_file_is_reported(folder: Folder, tmp_path: Path) -> None:
    folder.write("a", b"", match=None)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PokeflowError, match="file/target: "):
        folder.download("a", tmp_path / "file" / "target")


def test_file_that_changes_during_upload_is_rejected(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(3 << 20))
    before = hashlib.sha256(source.read_bytes()).hexdigest()

    def change(_: float) -> None:
        with source.open("r+b") as out:
            out.seek(-1, os.SEEK_END)
            out.write(b"!")

    with pytest.raises(IntegrityError, match="source"):
        folder.upload(source, "a", sha256=before, match=None, advance=change)
    assert keys(folder) == []
    assert drafts(folder) == []


def test_file_altered_on_disk_is_not_downloaded(folder: Folder, tmp_path: Path) -> None:
    folder.write("a", b"right", match=None)
    (folder.root / "a").write_bytes(b"wrong")
    with pytest.raises(IntegrityError, match=r"root/a: the checksum"):
        folder.download("a", tmp_path / "target", sha256=hashlib.sha256(b"right").hexdigest())
    assert not (tmp_path / "target").exists()


RACE = """
import sys
from pokeflow.objects import ABSENT, PreconditionError
from pokeflow.objects._folder import Folder
from pathlib import Path
folder, me = Folder(Path(sys.argv[1])), sys.argv[2].encode()
print("ready", flush=True)
sys.stdin.readline()
for n in range(50):
    try:
        folder.write(f"race/{n}", me, match=ABSENT)
    except PreconditionError:
        pass
    while True:
        data, etag = folder.read("log")
        try:
            folder.write("log", data + b"%d-%s " % (n, me), match=etag)
            break
        except PreconditionError:
            pass
"""


def test_of_many_processes_one_creates_and_none_is_overwritten(folder: Folder) -> None:
    folder.write("log", b"", match=ABSENT)
    command = [sys.executable, "-c", RACE, str(folder.root)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(n)], **pipes) for n in range(4)]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.communicate("go\n", timeout=120)
            assert writer.returncode == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    entries = folder.read("log")[0].split()
    assert sorted(entries) == sorted(b"%d-%d" % (n, me) for n in range(50) for me in range(4))
    assert len(keys(folder)) == 51
    assert drafts(folder) == []


def test_age_of_a_draft_is_its_own_modification_time(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a", b"", match=None)
    there = folder.root / ".pokeflow" / "drafts"
    now = 2_000_000_000.0
    monkeypatch.setattr(module.time, "time", lambda: now)
    for name, age in (("an-hour", 3600), ("older", 3601)):
        (there / name).write_bytes(b"")
        os.utime(there / name, (now - age,) * 2)
    (tmp_path / "old").write_bytes(b"")
    os.utime(tmp_path / "old", (0, 0))
    (there / "link").symlink_to(tmp_path / "old")
    os.utime(there / "link", (now, now), follow_symlinks=False)
    module._swept.clear()
    folder.write("b", b"", match=None)
    assert sorted(drafts(folder)) == ["an-hour", "link"]


def test_drafts_are_looked_through_every_ten_minutes(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1000.0]
    looked: list[float] = []
    scandir = os.scandir

    def look(path: Any) -> Any:
        looked.append(moments[0])
        return scandir(path)

    monkeypatch.setattr(module.time, "monotonic", lambda: moments[0])
    monkeypatch.setattr(module.os, "scandir", look)
    for moment in (1000.0, 1001.0, 1599.0, 1600.0, 2199.0, 2200.0):
        moments[0] = moment
        folder.write("a", b"", match=None)
    assert looked == [1000.0, 1600.0, 2200.0]


def test_a_folder_is_named_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Folder(Path("x/../root")).root == tmp_path / "root"
    assert Folder(tmp_path / "root").uri == f"file://{tmp_path}/root"
    assert not Folder(tmp_path).copies_on_server(Folder(tmp_path))
    assert Folder(tmp_path).connection_options() == {}


def test_lock_held_too_long_is_reported(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    waited: list[float] = []

    class Held:
        def __init__(self, file: Path, *, timeout: float, poll_interval: float) -> None:
            self.lock_file = str(file)
            waited.append(timeout)
            assert 0 < poll_interval < 0.1, "the lock is looked at many times a second"

        def acquire(self) -> None:
            raise filelock.Timeout(self.lock_file)

    monkeypatch.setattr(filelock, "FileLock", Held)
    with pytest.raises(PokeflowError, match=r"root/a: another process has held .*/locks/\w\w for a minute\. Stop it"):
        folder.write("a", b"", match=None)
    assert waited == [60]
    assert drafts(folder) == []


def test_a_lock_is_free_after_every_write(folder: Folder) -> None:
    for data in (b"1", b"2"):
        folder.write("a", data, match=None)
        for file in (folder.root / ".pokeflow" / "locks").iterdir():
            with FileLock(file, timeout=0):
                pass


def test_a_replaced_file_is_locked_while_it_is_replaced(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = folder.write("a", b"1", match=None)
    held: list[bool] = []
    replace = Path.replace

    def look(draft: Path, target: Path) -> Path:
        for file in (folder.root / ".pokeflow" / "locks").iterdir():
            try:
                FileLock(file, timeout=0).acquire()
            except Timeout:
                held.append(True)
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", look)
    folder.write("a", b"2", match=etag)
    assert held == [True]


def test_failed_condition_says_what_happened_to_the_object(folder: Folder) -> None:
    etag = folder.write("a", b"1", match=None)
    folder.write("a", b"2", match=None)
    with pytest.raises(PreconditionError, match="root/a has changed"):
        folder.write("a", b"3", match=etag)
    with pytest.raises(PreconditionError, match="root/a already exists"):
        folder.write("a", b"3", match=ABSENT)
    folder.delete("a")
    with pytest.raises(PreconditionError, match="root/a does not exist"):
        folder.write("a", b"3", match=etag)


def test_an_object_below_a_file_is_missing(folder: Folder, tmp_path: Path) -> None:
    folder.write("a", b"", match=None)
    folder.delete("a/b")
    assert folder.stat("a/b") is None
    assert list(folder.list("a/b/")) == []
    for ask in (folder.read, folder.sha256, lambda key: folder.download(key, tmp_path / "x")):
        with pytest.raises(NotFoundError, match="a/b: there is no such file"):
            ask("a/b")


def test_unreadable_file_is_not_reported_as_missing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a", b"", match=None)

    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module.os, "open", refuse)
    with pytest.raises(PokeflowError, match="root/a: Permission denied") as raised:
        folder.read("a")
    assert not isinstance(raised.value, NotFoundError)


def test_file_created_while_it_is_opened_is_missing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a", b"", match=None)

    def miss(*_: Any, **__: Any) -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file")

    monkeypatch.setattr(module.os, "open", miss)
    with pytest.raises(NotFoundError, match="root/a: there is no such file"):
        folder.read("a")


def test_reading_a_pipe_leaves_no_open_file(folder: Folder) -> None:
    folder.write("a", b"", match=None)
    os.mkfifo(folder.root / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NotFoundError):
        folder.read("pipe")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_file_deleted_during_listing_is_left_out(folder: Folder) -> None:
    for key in ("a", "b", "c"):
        folder.write(key, b"", match=None)
    listing = folder.list()
    assert next(listing).key == "a"
    (folder.root / "b").unlink()
    assert [entry.key for entry in listing] == ["c"]


def test_a_copy_counts_its_bytes(folder: Folder) -> None:
    folder.write("a", b"12345", match=None)
    passed: list[float] = []
    folder.copy(folder, "a", "b", match=None, advance=passed.append)
    assert sum(passed) == 5


def test_a_listing_begins_with_part_of_a_name_at_any_depth(folder: Folder) -> None:
    for key in ("a/b/a", "a/b/cd", "a/b/ce/f", "a/b/x", "a/bc"):
        folder.write(key, b"", match=None)
    assert [entry.key for entry in folder.list("a/b/c")] == ["a/b/cd", "a/b/ce/f"]
