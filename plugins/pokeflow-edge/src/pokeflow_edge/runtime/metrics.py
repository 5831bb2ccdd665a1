"""What a running service tells of itself: requests, latencies, memory, temperature."""

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAST = 1000
"""Answers that the percentiles are of."""
MEMORY = Path("/proc/self/status")
TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
"""The processor's, in thousandths of a degree."""


@dataclass(slots=True)
class Tally:
    """Answers by HTTP's status, and what the last good ones took: each step, and all of it with the wait for it."""

    began: float = field(default_factory=time.monotonic)
    answers: Counter[int] = field(default_factory=Counter)
    steps: dict[str, deque[float]] = field(default_factory=dict)

    def took(self, milliseconds: Mapping[str, float]) -> None:
        """Keep what an answer took."""
        for name, value in milliseconds.items():
            self.steps.setdefault(name, deque(maxlen=LAST)).append(value)

    def told(self) -> dict[str, Any]:
        """Everything; what is unknown is None, with its reason."""
        rss, peak = _memory("VmRSS"), _memory("VmHWM")
        temperature = _temperature()
        reasons = {
            "rss_bytes": f"{MEMORY} does not tell it" if rss is None else None,
            "peak_rss_bytes": f"{MEMORY} does not tell it" if peak is None else None,
            "temperature_c": f"{TEMPERATURE} cannot be read" if temperature is None else None,
            "milliseconds": None if self.steps else "nothing has been recognised yet",
        }
        return {
            "count": self.answers.total(),
            "answers": {str(status): count for status, count in sorted(self.answers.items())},
            "milliseconds": {name: _summary(values) for name, values in self.steps.items()} or None,
            "rss_bytes": rss,
            "peak_rss_bytes": peak,
            "temperature_c": temperature,
            "uptime_s": round(time.monotonic() - self.began, 3),
            "reasons": {name: reason for name, reason in reasons.items() if reason},
        }


def _summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"count": len(ordered), "p50": percentile(ordered, 50), "p95": percentile(ordered, 95)}


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The least value that so many per cent of them do not exceed: one that was measured, none in between."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _memory(name: str) -> int | None:
    try:
        lines = MEMORY.read_text(encoding="ascii", errors="replace").splitlines()
        (found,) = (line for line in lines if line.startswith(f"{name}:"))
        return int(found.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _temperature() -> float | None:
    try:
        return int(TEMPERATURE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None
