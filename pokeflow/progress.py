"""Progress of long operations: a bar on a terminal, periodic log lines elsewhere, no output for quick ones."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

log = logging.getLogger("pokeflow")

DELAY_SECONDS = 2.0
"""Seconds after which progress is shown first."""
LINE_EVERY = 15.0
"""Seconds between two progress lines if stderr is not a terminal."""
VERBOSITY = "POKEFLOW_VERBOSITY"
"""Environment variable that passes ``-q`` and ``-v`` to child processes, which set up their logging anew."""


class StderrHandler(logging.StreamHandler[Any]):
    """A log handler that looks up ``sys.stderr`` for every message, so that lines and bars do not mix."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING if _is_quiet() else logging.NOTSET)

    @property
    def stream(self) -> Any:
        """Current ``sys.stderr``."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("this handler's stream is always stderr")


def set_verbosity(verbosity: int) -> None:
    """Show more or less of the log than usual, in this process and in those that it starts.

    Args:
        verbosity: Below 0 only warnings and errors are shown, and no progress; above 0 debug messages as well.
            A value below 0 does not shorten the log file of a run.

    """
    if verbosity:
        os.environ[VERBOSITY] = str(verbosity)
    if verbosity > 0:
        _set_level(logging.DEBUG)


def enable_logging() -> None:
    """Show the log of pokeflow and its plugins on stderr, unless the root logger already has a handler."""
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(StderrHandler())
        _set_level(log.level or logging.INFO)


def _set_level(level: int) -> None:
    """Set the log level of pokeflow and its plugins; other packages keep theirs."""
    log.setLevel(level)
    for plugin in metadata.entry_points(group="pokeflow"):
        logging.getLogger(plugin.value.partition(":")[0].partition(".")[0]).setLevel(level)


def _is_quiet() -> bool:
    return os.environ.get(VERBOSITY, "").startswith("-")


@contextmanager
def bar(label: str, total: float) -> Iterator[Callable[..., None]]:
    """Show the progress of an operation; yield ``advance(n=1, text="")``, to be called after each part."""
    if _is_quiet():
        yield lambda n=1, text="": None
        return
    show = _bar if sys.stderr is not None and sys.stderr.isatty() else _lines
    with show(label, total) as advance:
        yield advance


@contextmanager
def _bar(label: str, total: float) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    # stdout is not redirected: it carries results, not messages, and a task may have redirected it already.
    progress = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    task = progress.add_task(label, total=total, text="")
    began, shown = time.monotonic(), False

    def advance(n: float = 1, text: str = "") -> None:
        nonlocal shown
        progress.update(task, advance=n)
        if text:
            progress.update(task, text=text)
        if not shown and time.monotonic() - began > DELAY_SECONDS:
            progress.start()
            shown = True

    try:
        yield advance
    finally:
        progress.stop()


@contextmanager
def _lines(label: str, total: float) -> Iterator[Callable[..., None]]:
    began = time.monotonic()
    due, done = began + DELAY_SECONDS, 0.0

    def advance(n: float = 1, text: str = "") -> None:
        nonlocal due, done
        done += n
        now, more = time.monotonic(), f", {text}" if text else ""
        if now >= due and 0 < done < total:
            remaining = (now - began) / done * (total - done)
            log.info("  %s: %d of %d%s, about %.0f s left", label, done, total, more, remaining)
            due = now + LINE_EVERY

    yield advance
