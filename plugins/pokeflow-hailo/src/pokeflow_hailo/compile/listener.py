"""Who hears the compiler's log while it runs: shows it, keeps what tells levels, refuses what is no such log."""

import contextlib
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pokeflow import PokeflowError, progress
from pokeflow_hailo.compile import log as reading
from pokeflow_hailo.compile.standalone import MARK
from pokeflow_hailo.shown import printable

log = logging.getLogger("pokeflow")

MAX_SHOWN = 20_000
"""Lines of one run that are shown; what tells levels is kept of all of them."""


class Listener(contextlib.ExitStack):
    """Is called with each line; ``telling`` are those that ``log.heard`` needs, ``last`` the latest few.

    ``record`` is handed every line of the compiler's own. A bar that is open is closed at the end of the block.
    """

    def __init__(self, record: Callable[[str], None]) -> None:
        super().__init__()
        self.telling: list[str] = []
        self.last: deque[str] = deque(maxlen=20)
        self._record, self._heard, self._warnings = record, 0, 0
        self._step, self._done = "", 0
        self._advance: Callable[..., None] = lambda n: None

    def __call__(self, raw: str) -> None:
        """Take a line; PokeflowError where the log is too strange to be believed."""
        told = own(raw)
        if told is not None:
            self._show(told)
            return
        line = printable(raw)
        if not line:
            return
        self._record(line)
        self.last.append(line)
        if reading.telling(line):
            self._keep(line)
        self._heard += 1
        if self._heard <= MAX_SHOWN:
            log.info("  hailo: %s", line)
        elif self._heard == MAX_SHOWN + 1:
            log.warning("  hailo: … more than %d lines; the rest is in telemetry/compiler.log", MAX_SHOWN)

    def _keep(self, line: str) -> None:
        if reading.is_warning(line):
            self._warnings += 1
            if self._warnings > reading.MOST_WARNINGS:
                return
        self.telling.append(line)
        if len(self.telling) > reading.MOST_TELLING:
            raise PokeflowError("the log tells levels and steps thousands of times: it is not the Dataflow Compiler's.")

    def _show(self, told: Mapping[str, Any]) -> None:
        """A line for each step, and a bar for those that count pictures."""
        step, done, total = told.get("step"), told.get("done"), told.get("total")
        if not isinstance(step, str) or not re.fullmatch(r"[a-z_ ]{1,40}", step):
            return
        if not isinstance(done, int) or not isinstance(total, int):
            log.info("  hailo: %s …", step)
            return
        if self._step != step:
            self.close()
            self._step, self._done = step, 0
            self._advance = self.enter_context(progress.bar(f"emulating {step}", total))
        self._advance(done - self._done)
        self._done = done


def own(line: str) -> dict[str, Any] | None:
    """What a line of the script that drives the compiler says; None for the compiler's own lines."""
    if not line.startswith(MARK):
        return None
    try:
        told = json.loads(line[len(MARK) :])
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
