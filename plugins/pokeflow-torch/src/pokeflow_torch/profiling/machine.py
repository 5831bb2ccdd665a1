"""System metrics: sampled during the profiled steps, and read from the telemetry of the training."""

import json
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import torch

from pokeflow.types import TELEMETRY
from pokeflow_torch import telemetry
from pokeflow_torch.profiling import charts

PROCESS = "process_memory_megabytes"
ROWS = 2000
"""Largest number of samples of a training; more are thinned out to it, as charts show fewer."""

Sample = dict[str, float]


@contextmanager
def sample_machine(folder: Path, device: torch.device, every: float) -> Iterator[list[Sample]]:
    """Sample system metrics every ``every`` seconds in a thread within the context, and once at its end.

    Args:
        folder: A folder on the disk to measure.
        device: Device of the steps.
        every: Seconds between two samples.

    Yields:
        The growing list of samples; ``time`` is in seconds since the context began.

    """
    import psutil

    rows, stop, process = list[Sample](), threading.Event(), psutil.Process()
    telemetry.machine(folder, None)  # starts the interval over which the processor is measured
    start = time.perf_counter()

    def watch() -> None:
        while True:
            last = stop.wait(every)
            row = {"time": time.perf_counter() - start, PROCESS: process.memory_info().rss / 1e6}
            metrics = telemetry.machine(folder, None) | telemetry.gpus(device)
            rows.append(row | {name.removeprefix("system/"): value for name, value in metrics.items()})
            if last:
                return

    thread = threading.Thread(target=watch, name="profile", daemon=True)
    thread.start()
    try:
        yield rows
    finally:
        stop.set()
        thread.join()


def training_samples(folder: Path) -> list[Sample]:
    """Read the system metrics of a training from its telemetry, thinned out to ``ROWS`` samples.

    The list is empty if there is no telemetry; ``time`` is in seconds since the first sample.
    """
    lines = _lines(folder / TELEMETRY / "system.jsonl")
    rows = [{name.removeprefix("system/"): value for name, value in row.items()} for row in lines]
    if rows:
        began = rows[0].get("time", 0.0)
        rows = [{**row, "time": (row.get("time", began) - began) / 1000} for row in rows]
    return rows[:: max(1, -(-len(rows) // ROWS))]


def training_step_ms(folder: Path) -> float | None:
    """Return the median milliseconds between consecutive steps of a training, or None without telemetry."""
    rows = list(_lines(folder / TELEMETRY / "steps.jsonl"))
    gaps = [
        after["time"] - before["time"]
        for before, after in pairwise(rows)
        if {"step", "time"} <= before.keys() & after.keys() and after["step"] == before["step"] + 1
    ]
    return float(statistics.median(gaps)) if gaps else None


def history(folder: Path) -> list[Sample]:
    """Read the history of a training, one row per epoch."""
    return list(_lines(folder / "history.jsonl"))


def mean(rows: Sequence[Mapping[str, float]], name: str) -> float | None:
    """Return the mean of a metric over the samples that have it, or None."""
    values = [row[name] for row in rows if name in row]
    return statistics.fmean(values) if values else None


def largest(rows: Iterable[Mapping[str, float]], name: str) -> float | None:
    """Return the largest value of a metric, or None if no sample has it."""
    return max((row[name] for row in rows if name in row), default=None)


def utilization(rows: Sequence[Mapping[str, float]], device: torch.device) -> float | None:
    """Return the mean utilization of the GPU, or of the processor without one, in per cent; None if unknown."""
    name = f"gpu_{device.index or 0}_utilization_percentage" if device.type == "cuda" else "cpu_utilization_percentage"
    return mean(rows, name)


def _lines(file: Path) -> Iterator[Sample]:
    """Yield the rows of a JSON Lines file, numbers only; lines that are cut off or not an object are skipped."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                yield {
                    name: float(value)
                    for name, value in row.items()
                    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < charts.HUGE
                }
