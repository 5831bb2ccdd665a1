"""Metrics of a running service: requests, latencies, memory, temperature."""

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAST = 1000
"""Number of latest responses that the percentiles cover."""
MEMORY = Path("/proc/self/status")
TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
"""Temperature of the processor in thousandths of a degree Celsius."""


@dataclass(slots=True)
class Tally:
    """Responses by HTTP status, and the milliseconds of the latest successful ones, by step and as a whole."""

    began: float = field(default_factory=time.monotonic)
    answers: Counter[int] = field(default_factory=Counter)
    steps: dict[str, deque[float]] = field(default_factory=dict)

    def took(self, milliseconds: Mapping[str, float]) -> None:
        """Record the milliseconds of a response by step."""
        for name, value in milliseconds.items():
            self.steps.setdefault(name, deque(maxlen=LAST)).append(value)

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics; unknown ones are None, with their reasons."""
        rss, peak = _memory("VmRSS"), _memory("VmHWM")
        temperature = _temperature()
        reasons = {
            "rss_bytes": f"{MEMORY} has no such entry" if rss is None else None,
            "peak_rss_bytes": f"{MEMORY} has no such entry" if peak is None else None,
            "temperature_c": f"{TEMPERATURE} cannot be read" if temperature is None else None,
            "milliseconds": None if self.steps else "nothing has been recognized yet",
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
    sorted_values = sorted(values)
    return {"count": len(sorted_values), "p50": percentile(sorted_values, 50), "p95": percentile(sorted_values, 95)}


def percentile(sorted_values: Sequence[float], percent: int) -> float:
    """Return the smallest measured value that ``percent`` per cent of the values do not exceed, not interpolated."""
    return sorted_values[max(0, math.ceil(len(sorted_values) * percent / 100) - 1)]


def _memory(name: str) -> int | None:
    try:
        lines = MEMORY.read_text(encoding="ascii", errors="replace").splitlines()
        (entry,) = (line for line in lines if line.startswith(f"{name}:"))
        return int(entry.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _temperature() -> float | None:
    try:
        return int(TEMPERATURE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None
