"""Publishing of changes to the bucket: at an interval, on request, at exit and on SIGTERM."""

import atexit
import contextlib
import functools
import logging
import os
import signal
import sqlite3
import threading
import time
import weakref
from types import FrameType

from filelock import Timeout

from mlflow_s3_store._forks import in_use
from mlflow_s3_store._publish import publish
from mlflow_s3_store._replica import Replica
from mlflow_s3_store._settings import FLUSH_SECONDS, seconds
from pokeflow.errors import PokeflowError

log = logging.getLogger(__package__)
MAX_RETRY_SECONDS = 60.0
"""Longest time in seconds until an unreachable bucket is tried again."""
SHARE = 10
"""Pause after publishing, as a multiple of its duration.

So publishing takes at most a tenth of the time, however long the histories of a run have grown.
"""
FLUSH_TIMEOUT = 10.0
"""Longest time in seconds that a call waits until its change is published."""
LEAVING = 60.0
"""Longest time in seconds that a process takes at exit to publish its last changes."""
_all: "weakref.WeakSet[Flusher]" = weakref.WeakSet()


class Flusher:
    """A publisher of a replica's changes, also of other processes on this machine, with a thread of its own."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.wake, self._changed = threading.Event(), threading.Condition()
        self._rounds, self._busy, self._last_warning = 0, False, ""
        _all.add(self)
        self._thread = threading.Thread(target=_run, args=(weakref.ref(self),), daemon=True, name="mlflow-s3-flush")
        with contextlib.suppress(RuntimeError):  # the interpreter is shutting down: flush_soon publishes itself
            self._thread.start()

    def flush(self, seconds: float | None = None) -> bool:
        """Publish all changes that are marked by now; return whether that succeeded. Errors are logged as warnings.

        ``seconds`` is the longest time to wait while another process of this machine publishes; None is no limit.
        """
        try:
            with in_use():
                if self.replica.copy.is_clean():
                    return True
                with self.replica.publishing, self.replica.lock.acquire(timeout=-1 if seconds is None else seconds):
                    publish(self.replica)
        except Timeout:
            return False
        except Exception as error:
            if str(error) != self._last_warning:
                is_expected = isinstance(error, (PokeflowError, OSError, sqlite3.Error))
                log.warning(
                    "%s: not published yet, will be retried: %s", self.replica.uri, error, exc_info=not is_expected
                )
            self._last_warning = str(error)
            return False
        self._last_warning = ""
        return True

    def publish_now(self, kind: str, identity: str) -> bool:
        """Publish one unit in the calling thread; return whether that succeeded. Errors are logged as warnings."""
        copy = self.replica.copy
        try:
            with self.replica.publishing, self.replica.lock.acquire(timeout=FLUSH_TIMEOUT):
                publish(self.replica, [mark for mark in copy.marks() if (mark.kind, mark.id) == (kind, identity)])
        except (Timeout, PokeflowError) as error:
            log.warning("%s: %s", self.replica.uri, error)
            return False
        return True

    def flush_soon(self) -> None:
        """Have all changes published now, and wait for at most ``FLUSH_TIMEOUT`` s; then the thread continues alone."""
        if not self._thread.is_alive():
            self.flush(FLUSH_TIMEOUT)
            return
        with self._changed:
            # A round in progress may have begun before the change, so the next one is needed.
            needed_rounds = self._rounds + (2 if self._busy else 1)
            self.wake.set()
            self._changed.wait_for(lambda: self._rounds >= needed_rounds, FLUSH_TIMEOUT)

    def round(self) -> bool:
        """Publish once, in the thread; return whether all changes are published."""
        with self._changed:
            self.wake.clear()
            self._busy = True
        is_published = self.flush(FLUSH_TIMEOUT)
        with self._changed:
            self._rounds, self._busy = self._rounds + 1, False
            self._changed.notify_all()
        return is_published

    def flush_at_exit(self) -> None:
        """Publish the last changes before the process ends; the next process publishes those that are left."""
        copy = self.replica.copy
        try:
            if not copy.file.exists():
                log.warning("%s: was removed while it was in use; its unpublished changes are lost", copy.file)
                return
            if copy.is_clean():
                return
        except sqlite3.Error as error:
            log.warning("%s: can no longer be read, so its changes are not published: %s", copy.file, error)
            return
        # Other processes may still write to the working copy; they publish their later changes themselves.
        before = set(copy.marks())
        worker = threading.Thread(target=self.flush, daemon=True)
        try:
            worker.start()
        except RuntimeError:  # too late to start a thread
            self.flush(LEAVING)
        else:
            worker.join(LEAVING)
        unpublished = len({(mark.kind, mark.id) for mark in before & set(copy.marks())})
        if unpublished:
            log.warning(
                "%s: %d changes are not published. They are kept in %s; the next process that opens it publishes them.",
                self.replica.uri,
                unpublished,
                copy.file,
            )


def _run(reference: "weakref.ref[Flusher]") -> None:
    interval = wait = max(0.05, seconds(FLUSH_SECONDS, 5))
    while (flusher := reference()) is not None:
        wake = flusher.wake
        del flusher  # so that the waiting thread does not keep it alive
        wake.wait(wait)
        if (flusher := reference()) is None:
            return
        began = time.monotonic()
        is_published = flusher.round()
        took = time.monotonic() - began
        wait = max(interval, SHARE * took) if is_published else min(MAX_RETRY_SECONDS, 2 * max(wait, interval))


def _flush_all() -> None:
    for flusher in list(_all):
        flusher.flush_at_exit()


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # calls in progress end, and `_flush_all` is called at exit


@functools.cache
def flush_on_exit() -> None:
    """Have changes published before the process ends: at exit, and on SIGTERM if it has no handler yet."""
    atexit.register(_flush_all)
    os.register_at_fork(after_in_child=_all.clear)  # the flushers belong to the parent
    with contextlib.suppress(ValueError):  # only the main thread may set a handler
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _stop)
