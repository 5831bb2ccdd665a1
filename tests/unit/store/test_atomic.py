"""Replace files atomically, and lock them for one process at a time."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pokeflow.store._atomic import file_lock, try_file_lock, write_atomically

HOLD = """
import sys
from pathlib import Path
from pokeflow.store._atomic import file_lock
with file_lock(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "some" / "locks" / "x.lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that holds the lock until it reads a line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], **pipes)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Record the content of each file when it is flushed to disk."""
    contents: list[bytes] = []

    def fsync(descriptor: int) -> None:
        contents.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    return contents


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_file_is_flushed_before_it_is_renamed(tmp_path: Path, synced: list[bytes]) -> None:
    write_atomically(tmp_path / "x", b"all of it")
    assert synced == [b"all of it"]


def test_file_that_is_quick_to_rebuild_is_not_flushed(tmp_path: Path, synced: list[bytes]) -> None:
    write_atomically(tmp_path / "x", b"all of it", flush=False)
    assert synced == []
    assert (tmp_path / "x").read_bytes() == b"all of it"


def test_a_killed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "x", b"old")

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_lock_is_a_file_while_it_is_held(lock: Path) -> None:
    for _ in range(2):
        with try_file_lock(lock) as mine:
            assert mine is True
            assert lock.exists()
        assert not lock.exists()


def test_a_lock_is_released_after_an_error(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock(lock, "x"):
        raise ZeroDivisionError
    assert not lock.exists()
    with try_file_lock(lock, wait=False) as mine:
        assert mine


def test_lock_whose_file_was_deleted_is_released(lock: Path) -> None:
    with file_lock(lock, "x"):
        lock.unlink()
    with try_file_lock(lock, wait=False) as mine:
        assert mine


@pytest.mark.usefixtures("holder")
def test_lock_held_elsewhere_is_refused_without_waiting(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with try_file_lock(lock, wait=False) as mine:
        assert mine is False
    assert lock.exists()
    assert caplog.messages == []


def test_waiting_for_a_lock_is_logged_and_then_succeeds(
    lock: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    logged, entered = threading.Event(), threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.set()

    def enter() -> None:
        with file_lock(lock, "train:m"):
            entered.set()

    listener = Listener()
    logging.getLogger("pokeflow").addHandler(listener)
    waiting = threading.Thread(target=enter, daemon=True)
    waiting.start()
    try:
        assert logged.wait(60)
        assert not entered.wait(0.2), "the lock is held by the other process"
        holder.communicate("go\n", timeout=60)
        assert entered.wait(60)
    finally:
        logging.getLogger("pokeflow").removeHandler(listener)
    waiting.join(60)
    assert caplog.messages == ["train:m: another process is running it, waiting"]
    assert not lock.exists()


def test_lock_of_a_killed_process_is_free(lock: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with try_file_lock(lock, wait=False) as mine:
        assert mine
