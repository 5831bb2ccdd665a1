"""The time of each part of each step, taken when the device has done its work."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch

from pokeflow_torch.step import PHASES

OTHER = "other"
"""What lies between the parts: dealing out the batch, telling the loss, a look at the clock."""


class Clock:
    """A watch over the parts of steps; each is named in traces, and ``after`` is called when one has ended."""

    def __init__(self, device: torch.device, after: Callable[[str], None] = lambda _name: None) -> None:
        self.device, self.after = device, after
        self._parts: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Within: one of ``PHASES``."""
        began = self.now()
        with torch.profiler.record_function(f"step/{name}"):
            yield
            ended = self.now()
        self._parts[name] = self._parts.get(name, 0.0) + ended - began
        self.after(name)

    @contextmanager
    def step(self) -> Iterator[dict[str, float]]:
        """Within: one step; milliseconds of each part, of the rest and of the whole, are known afterwards."""
        self._parts, found, began = {}, dict[str, float](), self.now()
        yield found
        whole = self.now() - began
        parts = {name: self._parts.get(name, 0.0) for name in PHASES}
        parts[OTHER] = max(0.0, whole - sum(parts.values()))
        found.update({f"{name}_ms": seconds * 1000 for name, seconds in parts.items()}, step_ms=whole * 1000)

    def now(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def shares(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The share of each part in the time of all these steps."""
    whole = sum(row["step_ms"] for row in rows)
    return {name: sum(row[f"{name}_ms"] for row in rows) / whole for name in (*PHASES, OTHER)}


def middle(rows: Sequence[dict[str, float]]) -> float:
    """The median time of a step, in milliseconds."""
    return median(row["step_ms"] for row in rows)


def far_away(rows: Sequence[dict[str, float]], times: float = 2.0) -> int:
    """How many steps took more than so many times the median."""
    return sum(row["step_ms"] > times * middle(rows) for row in rows)
