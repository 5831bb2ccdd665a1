"""Progress of long work: a bar on a terminal, a line now and then elsewhere, nothing for what is quick."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("pokeflow")

QUICK = 2.0
"""Seconds before anything is shown."""
LINE_EVERY = 15.0
"""Seconds between two lines where there is no terminal."""


class StderrHandler(logging.StreamHandler[Any]):
    """A log handler that writes to whatever stderr is at that moment, so that lines and bars do not mix."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """Today's stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("this handler's stream is always stderr")


def heard() -> None:
    """Show the log of pokeflow on stderr, where nobody else shows it."""
    if not log.handlers and not logging.getLogger().handlers:
        log.addHandler(StderrHandler())
        log.setLevel(logging.INFO)


@contextmanager
def bar(label: str, total: float) -> Iterator[Callable[..., None]]:
    """Show how far a piece of work is; yields ``advance(n=1, text="")``, to be called as it goes on."""
    show = _bar if sys.stderr.isatty() else _lines
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
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
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
