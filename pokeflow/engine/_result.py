"""Result of a run in a form for evaluation: records, rows of figures, folders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pokeflow import store
from pokeflow.flow import Flow
from pokeflow.types import Record


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a model, measured by the task of a stage; a ``value`` of None is unknown, for that ``reason``."""

    model: str
    version: str
    stage: str
    metric: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result of a run.

    Attributes:
        flow: The flow that was run.
        records: The record of each finished or reused task, by the task's name, such as ``train:some-model``.
        ran: The names of the tasks that ran, in order.

    """

    flow: Flow = field(repr=False)
    records: Mapping[str, Record] = field(repr=False)
    ran: tuple[str, ...]

    def figures(self) -> list[Figure]:
        """Return all figures of all records, in the order of the tasks, as rows for a table or a data frame."""
        return [
            Figure(record.model, record.version, record.stage, metric, value, _reason(record, metric, value))
            for record in self.records.values()
            for metric, value in record.metrics.items()
        ]

    @property
    def objective(self) -> float | None:
        """Figure that a sweep compares, ``<model>.<metric>``: of the model's last task that measured it.

        None if the flow has no objective, or no task measured it except simulated ones.
        """
        if self.flow.objective is None:
            return None
        model, _, metric = self.flow.objective.rpartition(".")
        names = (step.name for step in reversed(self.flow.steps) if step.model == model)
        records = [self.records[name] for name in names if name in self.records]
        return next((r.metrics[metric] for r in records if metric in r.metrics and not r.simulated), None)

    def folder(self, task: str) -> Path:
        """Return the folder with the files of a task; files that exist only in the bucket are downloaded.

        Raises:
            KeyError: If this run has no such task.

        """
        return store.open_for_flow(self.flow).fetch(self.records[task])


def _reason(record: Record, metric: str, value: float | None) -> str:
    return "" if value is not None else record.reasons.get(metric, "no reason recorded")
