"""The machine's figures: sampled while steps are made, and those that the training told of itself."""

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
"""More than a chart can show; a long training's samples are thinned out to so many."""

Sample = dict[str, float]


@contextmanager
def sampled(folder: Path, device: torch.device, every: float) -> Iterator[list[Sample]]:
    """Within: a sample of the machine every so many seconds; ``time`` is in seconds since the first."""
    import psutil

    rows, over, process = list[Sample](), threading.Event(), psutil.Process()
    telemetry.machine(folder, None)  # the processor's share is of the time since it was last asked for
    began = time.perf_counter()

    def watch() -> None:
        while True:
            last = over.wait(every)
            row = {"time": time.perf_counter() - began, PROCESS: process.memory_info().rss / 1e6}
            found = telemetry.machine(folder, None) | telemetry.gpus(device)
            rows.append(row | {name.removeprefix("system/"): value for name, value in found.items()})
            if last:
                return

    thread = threading.Thread(target=watch, name="profile", daemon=True)
    thread.start()
    try:
        yield rows
    finally:
        over.set()
        thread.join()


def of_training(made: Path) -> list[Sample]:
    """The samples that lie beside a training's result, thinned out; none where it told nothing."""
    lines = _lines(made / TELEMETRY / "system.jsonl")
    rows = [{name.removeprefix("system/"): value for name, value in row.items()} for row in lines]
    if rows:
        began = rows[0].get("time", 0.0)
        rows = [{**row, "time": (row.get("time", began) - began) / 1000} for row in rows]
    return rows[:: max(1, -(-len(rows) // ROWS))]


def step_ms_of_training(made: Path) -> float | None:
    """The median time from one step of the training to the next; None where it told nothing."""
    rows = list(_lines(made / TELEMETRY / "steps.jsonl"))
    gaps = [
        after["time"] - before["time"]
        for before, after in pairwise(rows)
        if {"step", "time"} <= before.keys() & after.keys() and after["step"] == before["step"] + 1
    ]
    return float(statistics.median(gaps)) if gaps else None


def history(made: Path) -> list[Sample]:
    """The training's history, a row an epoch."""
    return list(_lines(made / "history.jsonl"))


def mean(rows: Sequence[Mapping[str, float]], name: str) -> float | None:
    """The mean of a figure over the samples that have it."""
    found = [row[name] for row in rows if name in row]
    return statistics.fmean(found) if found else None


def most(rows: Iterable[Mapping[str, float]], name: str) -> float | None:
    """The largest that a figure was."""
    return max((row[name] for row in rows if name in row), default=None)


def utilization(rows: Sequence[Mapping[str, float]], device: torch.device) -> float | None:
    """How busy what computes was, in per cent: the device, or the processor where there is none."""
    name = f"gpu_{device.index or 0}_utilization_percentage" if device.type == "cuda" else "cpu_utilization_percentage"
    return mean(rows, name)


def _lines(file: Path) -> Iterator[Sample]:
    """The rows of a file of lines: numbers only, and none from a line that was cut off."""
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
