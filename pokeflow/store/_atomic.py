"""Files that appear whole or not at all, and locks that end with the process that holds them."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("pokeflow")


@contextmanager
def exclusively(file: Path, what: str) -> Iterator[None]:
    """Hold a lock file for this process alone; wait, and say so, while another process holds it."""
    with lock_file(file, what):
        yield


@contextmanager
def lock_file(file: Path, what: str = "", *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file, which the system lets go of when this process ends, however it ends.

    Args:
        file: the lock; it is there only while somebody holds it.
        what: what is locked, for the message while this process waits.
        wait: wait for it; else give False where another process holds it.

    """
    from filelock import FileLock, Timeout

    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            yield False
            return
        log.info("%s: another process is making it, waiting", what)
        lock.acquire(poll_interval=0.2)
    try:
        yield True
    finally:
        # Removed while it is held: a waiter sees that its file is gone and looks for the lock again.
        file.unlink(missing_ok=True)
        lock.release()


def write_atomically(file: Path, data: bytes, *, flush: bool = True) -> None:
    """Put bytes under a name in one step: a reader sees the old file or the new one, whole; flushed: on the disk."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with draft.open("wb") as out:
        out.write(data)
        if flush:
            out.flush()
            os.fsync(out.fileno())
    draft.replace(file)
