"""Atomic writes of files, and file locks that are released when the process that holds them ends."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("pokeflow")


@contextmanager
def file_lock(file: Path, label: str) -> Iterator[None]:
    """Hold an exclusive lock file; wait, and log a message, while another process holds it."""
    with try_file_lock(file, label):
        yield


@contextmanager
def try_file_lock(file: Path, label: str = "", *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock file, which the operating system releases whenever and however this process ends.

    Args:
        file: Path of the lock file, which exists only while a process holds it.
        label: Subject of the log message while this process waits.
        wait: Wait for the lock; otherwise yield False if another process holds it.

    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)  # makes the folder as well
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            yield False
            return
        log.info("%s: another process is running it, waiting", label)
        lock.acquire(poll_interval=0.2)
    try:
        yield True
    finally:
        # Remove the file while the lock is held: a waiting process notices that the file is gone and starts again.
        file.unlink(missing_ok=True)
        lock.release()


def write_atomically(file: Path, data: bytes, *, flush: bool = True) -> None:
    """Replace a file in one step, so that readers see all of the old or all of the new; ``flush`` syncs it to disk."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with draft.open("wb") as out:
        out.write(data)
        if flush:
            out.flush()
            os.fsync(out.fileno())
    draft.replace(file)
