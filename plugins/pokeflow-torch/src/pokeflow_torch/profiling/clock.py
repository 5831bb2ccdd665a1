"""Timing of the phases of training steps, synchronized with the device."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch

from pokeflow_torch.step import PHASES

OTHER = "other"
"""Name of the time between the phases: sharing out the batch, exchanging the loss, reading the clock."""


class Clock:
    """A timer of the phases of steps; it names them in traces, and calls ``after`` when a phase has ended."""

    def __init__(self, device: torch.device, after: Callable[[str], None] = lambda _name: None) -> None:
        self.device, self.after = device, after
        self._parts: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure one of ``PHASES`` within the context."""
        start = self.now()
        with torch.profiler.record_function(f"step/{name}"):
            yield
            end = self.now()
        self._parts[name] = self._parts.get(name, 0.0) + end - start
        self.after(name)

    @contextmanager
    def step(self) -> Iterator[dict[str, float]]:
        """Measure one step within the context.

        Yields:
            A row that is filled when the context ends: milliseconds of each phase and of ``OTHER`` as ``<name>_ms``,
            and of the whole step as ``step_ms``.

        """
        self._parts, row, start = {}, dict[str, float](), self.now()
        yield row
        total = self.now() - start
        parts = {name: self._parts.get(name, 0.0) for name in PHASES}
        parts[OTHER] = max(0.0, total - sum(parts.values()))
        row.update({f"{name}_ms": seconds * 1000 for name, seconds in parts.items()}, step_ms=total * 1000)

    def now(self) -> float:
        """Return the time in seconds, after the device has finished its queued work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def shares(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the share of each phase, and of ``OTHER``, in the total time of the steps."""
    total = sum(row["step_ms"] for row in rows)
    return {name: sum(row[f"{name}_ms"] for row in rows) / total for name in (*PHASES, OTHER)}


def median_ms(rows: Sequence[dict[str, float]]) -> float:
    """Return the median time of a step in milliseconds."""
    return median(row["step_ms"] for row in rows)


def count_outliers(rows: Sequence[dict[str, float]], times: float = 2.0) -> int:
    """Count the steps that took more than ``times`` the median."""
    return sum(row["step_ms"] > times * median_ms(rows) for row in rows)
