"""A fork finds no database open: SQLite's locks are the process's, and a child that inherits a connection has none.

With one, child and parent would not see each other's locks, and the parent's last close would take away the log that
the child is writing to. So a fork waits until no call is under way, and closes what is open; it is opened again.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST = 30.0
"""Seconds that a fork waits for calls that are under way."""
_state = threading.Condition(threading.Lock())
_users, _closing = 0, False
_closers: list["weakref.WeakMethod[Callable[[], None]]"] = []


@contextmanager
def in_use() -> Iterator[None]:
    """Keep forks away from what is done here."""
    global _users  # noqa: PLW0603 - forks are the process's
    with _state:
        # Who is needed by a call that is under way may come in, or that call would never end.
        _state.wait_for(lambda: not _closing or _users)
        _users += 1
    try:
        yield
    finally:
        with _state:
            _users -= 1
            _state.notify_all()


def close_before_fork(close: Callable[[], None]) -> None:
    """Have a bound method called before every fork."""
    _closers.append(weakref.WeakMethod(close))


def _before() -> None:
    global _closing  # noqa: PLW0603
    with _state:
        _closing = True
        _state.wait_for(lambda: not _users, LONGEST)
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
