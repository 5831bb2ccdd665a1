"""Consumer of the compiler's log while it runs: shows it, keeps relevant lines, and rejects an implausible log."""

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
from pokeflow_hailo.sanitize import printable

log = logging.getLogger("pokeflow")

MAX_SHOWN = 20_000
"""Maximum number of lines shown per run; relevant lines are kept from all of them."""


class Listener(contextlib.ExitStack):
    """A callable for each line of the log, which closes an open progress bar at the end of the block.

    Args:
        record: Called with each line of the compiler itself.

    Attributes:
        telling: Lines that ``log.parse_log`` needs.
        last: The latest 20 lines.

    """

    def __init__(self, record: Callable[[str], None]) -> None:
        super().__init__()
        self.relevant_lines: list[str] = []
        self.last: deque[str] = deque(maxlen=20)
        self._record, self._lines_seen, self._warnings = record, 0, 0
        self._step, self._done = "", 0
        self._advance: Callable[..., None] = lambda n: None

    def __call__(self, raw: str) -> None:
        """Process a line; raise a PokeflowError if the log has implausibly many relevant lines."""
        message = parse_line(raw)
        if message is not None:
            self._show(message)
            return
        line = printable(raw)
        if not line:
            return
        self._record(line)
        self.last.append(line)
        if reading.is_relevant(line):
            self._keep(line)
        self._lines_seen += 1
        if self._lines_seen <= MAX_SHOWN:
            log.info("  hailo: %s", line)
        elif self._lines_seen == MAX_SHOWN + 1:
            log.warning("  hailo: … more than %d lines; the rest is in telemetry/compiler.log", MAX_SHOWN)

    def _keep(self, line: str) -> None:
        if reading.is_warning(line):
            self._warnings += 1
            if self._warnings > reading.MAX_WARNINGS:
                return
        self.relevant_lines.append(line)
        if len(self.relevant_lines) > reading.MAX_RELEVANT_LINES:
            raise PokeflowError(
                "the log has thousands of lines on levels and steps, so it is not the Dataflow Compiler's. Correct "
                "compiler.python."
            )

    def _show(self, message: Mapping[str, Any]) -> None:
        """Log each step, or show a progress bar for a step that counts pictures."""
        step, done, total = message.get("step"), message.get("done"), message.get("total")
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


def parse_line(line: str) -> dict[str, Any] | None:
    """Return the message in a line of ``standalone.py``, or None for a line of the compiler itself."""
    if not line.startswith(MARK):
        return None
    try:
        message = json.loads(line[len(MARK) :])
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
