"""Progress of long work: a bar on a terminal, a line now and then elsewhere, nothing for what is quick."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

log = logging.getLogger("pokeflow")

QUICK = 2.0
"""Seconds before anything is shown."""
LINE_EVERY = 15.0
"""Seconds between two lines where there is no terminal."""
VERBOSITY = "POKEFLOW_VERBOSITY"
"""Variable by which ``-q`` and ``-v`` reach the processes that a run starts: these set their logging up anew."""


class StderrHandler(logging.StreamHandler[Any]):
    """A log handler that writes to whatever stderr is at that moment, so that lines and bars do not mix."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING if _is_quiet() else logging.NOTSET)

    @property
    def stream(self) -> Any:
        """Today's stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("this handler's stream is always stderr")


def set_verbosity(verbosity: int) -> None:
    """Show more or less of the log than usual, in this process and in those that it starts.

    Args:
        verbosity: below 0 no more than warnings and errors, and no progress; above 0 what helps to find a mistake.
            A run's own log file has everything in any case.

    """
    if verbosity:
        os.environ[VERBOSITY] = str(verbosity)
    if verbosity > 0:
        _set_level(logging.DEBUG)


def enable_logging() -> None:
    """Show the log of pokeflow and its plugins on stderr, where no handler shows it yet."""
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(StderrHandler())
        _set_level(log.level or logging.INFO)


def _set_level(level: int) -> None:
    """Set the level of what pokeflow and its plugins log; other packages keep theirs."""
    log.setLevel(level)
    for plugin in metadata.entry_points(group="pokeflow"):
        logging.getLogger(plugin.value.partition(":")[0].partition(".")[0]).setLevel(level)


def _is_quiet() -> bool:
    return os.environ.get(VERBOSITY, "").startswith("-")


@contextmanager
def bar(label: str, total: float) -> Iterator[Callable[..., None]]:
    """Show how far a piece of work is; yields ``advance(n=1, text="")``, to be called as it goes on."""
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
    # stdout is left alone: what is printed there is no message, and a task may have redirected it when the bar starts.
    progress = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
    task = progress.add_task(label, total=total, text="")
    began, shown = time.monotonic(), False

    def advance(n: float = 1, text: str = "") -> None:
        nonlocal shown
        progress.update(task, advance=n)
        if text:
            progress.update(task, text=text)
        if not shown and time.monotonic() - began > QUICK:
            progress.start()
            shown = True

    try:
        yield advance
    finally:
        progress.stop()


@contextmanager
def _lines(label: str, total: float) -> Iterator[Callable[..., None]]:
    began = time.monotonic()
    due, done = began + QUICK, 0.0

    def advance(n: float = 1, text: str = "") -> None:
        nonlocal due, done
        done += n
        now = time.monotonic()
        if now >= due and 0 < done < total:
            left = (now - began) / done * (total - done)
            log.info("  %s: %d of %d%s, about %.0f s left", label, done, total, f", {text}" if text else "", left)
            due = now + LINE_EVERY

    yield advance
