"""Fork safety: no database is open at a fork, because SQLite's locks belong to the process.

A child with an inherited connection would hold no locks: child and parent would not see each other's locks, and the
parent's last close would delete the log that the child is writing to. So a fork waits until no call is in progress,
and closes all connections; they are opened again at the next use.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAX_WAIT_SECONDS = 30.0
"""Longest time in seconds that a fork waits for calls in progress."""
_state = threading.Condition(threading.Lock())
_users, _closing = 0, False
_closers: list["weakref.WeakMethod[Callable[[], None]]"] = []


@contextmanager
def in_use() -> Iterator[None]:
    """Delay forks until the block has ended, for at most ``MAX_WAIT_SECONDS`` seconds."""
    global _users  # noqa: PLW0603 - forks are the process's
    with _state:
        # While calls are in progress others may start: such a call may wait for one of them, and would never end.
        _state.wait_for(lambda: not _closing or _users)
        _users += 1
    try:
        yield
    finally:
        with _state:
            _users -= 1
            _state.notify_all()


def close_before_fork(close: Callable[[], None]) -> None:
    """Register a bound method that is called before every fork, as long as its object exists."""
    _closers.append(weakref.WeakMethod(close))


def _before() -> None:
    global _closing  # noqa: PLW0603
    with _state:
        _closing = True
        _state.wait_for(lambda: not _users, MAX_WAIT_SECONDS)
    for reference in _closers:
        if close := reference():
            close()


def _after() -> None:
    global _closing  # noqa: PLW0603
    with _state:
        _closing = False
        _state.notify_all()


def _after_in_child() -> None:
    global _state, _users, _closing
    _state, _users, _closing = threading.Condition(threading.Lock()), 0, False


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
