"""Parallel transfers in threads that do not delay the exit of the program."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from pokeflow import progress
from pokeflow.objects._base import Advance

Item = TypeVar("Item")
LEAVE = 2.0
"""Seconds that running transfers have to clean up after Ctrl-C."""

_worker = threading.local()


class CancelledError(BaseException):
    """Error that is raised inside cancelled work, so that it cleans up and ends."""


def raise_if_cancelled() -> None:
    """Raise CancelledError if this thread's work was cancelled; long work should call this about every second."""
    stop = getattr(_worker, "stop", None)
    if stop is not None and stop.is_set():
        raise CancelledError


def each(
    work: Callable[[Item, Advance], object], items: Iterable[Item], *, label: str, total: float, workers: int = 16
) -> None:
    """Run ``work(item, advance)`` for every item, ``workers`` at a time, with a progress bar of ``total`` bytes.

    Items are consumed lazily, so there may be many. After the first error no further item is started, and the error is
    raised once all running items have ended. Ctrl-C returns after at most ``LEAVE`` seconds, whatever still runs.
    """
    source, items_lock, stop = iter(items), threading.Lock(), threading.Event()
    errors: list[BaseException] = []
    finished = queue.SimpleQueue[None]()

    with progress.bar(label, total) as show:

        def advance(n: float) -> None:
            raise_if_cancelled()
            if n:
                with bar_lock:
                    show(n)

        def run() -> None:
            _worker.stop = stop
            try:
                while not stop.is_set():
                    with items_lock:
                        item = next(source, _END)
                    if item is _END:
                        return
                    work(item, advance)
            except CancelledError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                errors.append(error)
                stop.set()
            finally:
                finished.put(None)

        bar_lock = threading.Lock()
        # Daemon threads: the interpreter waits for all others at exit, and a transfer may take minutes to end.
        threads = [threading.Thread(target=run, name=f"{label}-{n}", daemon=True) for n in range(max(1, workers))]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                finished.get()
        except BaseException:
            stop.set()
            _leave(thread for thread in threads if thread.ident is not None)  # Ctrl-C may arrive before all are started
            raise
    if errors:
        raise errors[0]


_END: Any = object()


def _leave(threads: Iterable[threading.Thread]) -> None:
    until = time.monotonic() + LEAVE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


class DaemonPool:
    """Pool of daemon threads that run calls in the order of submission. Threads start with the first calls.

    Unlike those of ``concurrent.futures`` they do not prevent the interpreter from exiting.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._calls = queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]]()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Submit a call and return a future for its result or error."""
        future: Future[Any] = Future()
        self._calls.put((future, call, args))
        with self._lock:
            if len(self._threads) < self._size:
                thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def _work(self) -> None:
        while True:
            future, call, args = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call(*args))
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                future.set_exception(error)
            # Drop all references to the finished call: a part of an object takes megabytes.
            del future, call, args


def wait_for_result(future: Future[Any]) -> Any:
    """Wait for a future and return its result; raise CancelledError if this thread's work is cancelled meanwhile."""
    while not wait((future,), timeout=0.5).done:
        raise_if_cancelled()
    return future.result()
