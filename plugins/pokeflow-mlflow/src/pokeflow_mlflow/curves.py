"""Metric curves of a task for MLflow: each training step, each epoch, the machine's load, and the final figures.

steps.jsonl    one row per step     → ``train_loss``, ``train_<term>_loss``, ``lr``, each at its own time
history.jsonl  one row per epoch    → the names in the file; a name that ``steps.jsonl`` has too gets ``_epoch``
system.jsonl   one row per sample   → ``system/…``, with the sample's number as step, like MLflow's own monitor
the record     the figures          → their names, at the last step: MLflow shows these as the latest values
"""

import json
import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pokeflow import Record
from pokeflow_mlflow.fields import key
from pokeflow_mlflow.provenance import STEPS, SYSTEM

log = logging.getLogger(__name__)

HISTORY = "history.jsonl"
_AXES = ("step", "epoch", "time")
Row = Mapping[str, Any]
Item = TypeVar("Item")


class Point(NamedTuple):
    """One point of a curve: metric, value, milliseconds since 1970, step."""

    name: str
    value: float
    time: int
    step: int


@dataclass(frozen=True, slots=True)
class Curves:
    """Rows of a finished task's files.

    Attributes:
        record: The record of the task.
        steps: All rows of the training steps, by step.
        history: The rows of the epochs.
        system: The samples of the machine's load to log, each with its number.
        logged_steps: The training steps to log.
        thinned: By file of which only some rows are logged, their number: "100 of 2,000 rows".

    """

    record: Record
    steps: Mapping[int, Row]
    history: Sequence[Row]
    system: Sequence[tuple[int, Row]]
    logged_steps: frozenset[int]
    thinned: Mapping[str, str]

    def points(self) -> Iterator[Point]:
        """Yield all points, always in the same order."""
        yield from self._training_points()
        yield from self._epoch_points()
        for sample, row in self.system:
            for name, value in _figures(row):
                yield Point(key(name), value, int(row["time"]), sample)
        yield from self._final_points()

    def _training_points(self) -> Iterator[Point]:
        for step, row in self.steps.items():
            if step in self.logged_steps:
                for name, value in _figures(row):
                    yield Point(_training_name(name), value, int(row["time"]), step)

    def _epoch_points(self) -> Iterator[Point]:
        step_names = {_training_name(name) for row in self.steps.values() for name, _ in _figures(row)}
        for step, row, time in self._epochs_with_time():
            if {"step", "epoch"} <= row.keys():
                yield Point("epoch", float(row["epoch"]), time, step)
            for name, value in _figures(row):
                yield Point(key(f"{name}_epoch") if key(name) in step_names else key(name), value, time, step)

    def _epochs_with_time(self) -> Iterator[tuple[int, Row, int]]:
        """Yield (step, row, milliseconds since 1970) for every epoch.

        The time is that of the first training step at or after the epoch's step. If there is no such step, it is the
        epoch's share of the task's duration.
        """
        begin, end = milliseconds(self.record.started), milliseconds(self.record.finished)
        steps = sorted(self.steps)
        for i, row in enumerate(self.history, start=1):
            step = int(row.get("step", row.get("epoch", i)))
            position = bisect_left(steps, step)
            if position < len(steps):
                yield step, row, int(self.steps[steps[position]]["time"])
            else:
                yield step, row, begin + (end - begin) * i // (len(self.history) + 1)

    def _final_points(self) -> Iterator[Point]:
        record, end = self.record, milliseconds(self.record.finished)
        rows = list(self._epochs_with_time())
        last_step, last_figures = (
            (rows[-1][0], dict(_figures(rows[-1][1]))) if rows else (max(self.steps, default=0), {})
        )
        for name, figure in {"seconds": record.seconds, "cost_usd": record.cost_usd, **record.metrics}.items():
            # A figure that the last epoch has with the same value is the same measurement.
            if figure is not None and last_figures.get(name) != float(figure):
                yield Point(key(name), float(figure), end, last_step)


def read(record: Record, folder: Path, limit: int | None = None) -> Curves:
    """Read the curves of a finished task; of steps and system samples at most ``limit`` rows each, spread evenly."""
    # After a resume a step may appear again: the last row is the one that training continued from.
    steps = {int(row["step"]): row for row in _rows(folder / STEPS, "step", "time")}
    steps = dict(sorted(steps.items()))
    system = list(enumerate(_rows(folder / SYSTEM, "time")))
    thinned = {
        name: f"{limit:,} of {len(rows):,} rows"
        for name, rows in (("steps", steps), ("system", system))
        if limit and len(rows) > limit
    }
    return Curves(
        record,
        steps,
        list(_rows(folder / HISTORY)),
        _thin(system, limit),
        frozenset(_thin(list(steps), limit)),
        thinned,
    )


def _thin(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """Return at most ``limit`` items, spread evenly and including the last one; without ``limit`` return all."""
    if not limit or len(items) <= limit:
        return items
    return [items[(i + 1) * len(items) // limit - 1] for i in range(limit)]


def _rows(file: Path, *required: str) -> Iterator[Row]:
    """Yield the lines that are objects with valid positions; skip others, such as a line cut off by a kill."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                for axis in {*required, *({"step", "epoch"} & row.keys())}:
                    float(int(row[axis]))  # raises unless it is a whole number that MLflow can hold
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
                log.warning("%s: line %d is not a row of figures; skipped", file, number)
            else:
                yield row


def _figures(row: Row) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if name not in _AXES and isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):  # an integer too large for a float
                yield name, float(value)


def _training_name(name: str) -> str:
    return key(name if name == "lr" or name.startswith("train_") else f"train_{name}")


def milliseconds(moment: str) -> int:
    """Return a record's ISO 8601 timestamp in milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
