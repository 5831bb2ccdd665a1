"""Many transfers at once, in threads that never hold a program up that wants to leave."""

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
"""Seconds that transfers under way are given to clean up after Ctrl-C."""

_worker = threading.local()


class Stopped(BaseException):
    """Raised inside of work whose result nobody wants any more, so that it cleans up and ends."""


def breathe() -> None:
    """The place where long work can be stopped: to be called at least every second or so; raises Stopped."""
    stop = getattr(_worker, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def each(
    work: Callable[[Item, Advance], object], items: Iterable[Item], *, label: str, total: float, workers: int = 16
) -> None:
    """Do ``work(item, advance)`` for every item, ``workers`` at a time, under a bar of ``total`` bytes.

    Items are taken when a worker is free, so they may be many. The first error is raised once everything under way
    has ended; no further item is begun. Ctrl-C leaves after two seconds, whatever is under way.
    """
    source, one, stop = iter(items), threading.Lock(), threading.Event()
    errors: list[BaseException] = []
    ended = queue.SimpleQueue[None]()

    with progress.bar(label, total) as show:

        def advance(n: float) -> None:
            breathe()
            if n:
                with shown:
                    show(n)

        def run() -> None:
            _worker.stop = stop
            try:
                while not stop.is_set():
                    with one:
                        item = next(source, _END)
                    if item is _END:
                        return
                    work(item, advance)
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                errors.append(error)
                stop.set()
            finally:
                ended.put(None)

        shown = threading.Lock()
        # Daemons: the interpreter waits for all other threads, and a transfer may take minutes to notice.
        threads = [threading.Thread(target=run, name=f"{label}-{n}", daemon=True) for n in range(max(1, workers))]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                ended.get()
        except BaseException:
            stop.set()
            _leave(thread for thread in threads if thread.ident is not None)  # Ctrl-C may come while they are started
            raise
    if errors:
        raise errors[0]


_END: Any = object()


def _leave(threads: Iterable[threading.Thread]) -> None:
    until = time.monotonic() + LEAVE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


class Crew:
    """A few threads that do calls in the order they are handed in. They begin with the first call.

    Unlike those of ``concurrent.futures`` they do not keep the interpreter from leaving.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._calls = queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]]()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Hand in a call; its result, or its error, is in the future."""
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
            except BaseException as error:  # noqa: BLE001 - belongs to whoever waits for the result
                future.set_exception(error)
            # Nothing of a call may outlive it here: a part is megabytes.
            del future, call, args


def result(future: Future[Any]) -> Any:
    """The result of a future, waited for in such a way that the wait can be stopped."""
    while not wait((future,), timeout=0.5).done:
        breathe()
    return future.result()
