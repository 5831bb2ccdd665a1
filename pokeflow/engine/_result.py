"""What a run left, as whoever reads figures wants it: records, rows of figures, folders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pokeflow import store
from pokeflow.flow import Flow
from pokeflow.types import Record


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a model, as the task of a stage found it; a ``value`` of None is unknown, for that ``reason``."""

    model: str
    version: str
    stage: str
    metric: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left.

    Attributes:
        flow: what was run.
        records: the record of each task that is done, by its name, such as ``train:some-model``; reused ones too.
        ran: the names of the tasks that this run carried out, in order.

    """

    flow: Flow = field(repr=False)
    records: Mapping[str, Record] = field(repr=False)
    ran: tuple[str, ...]

    def figures(self) -> list[Figure]:
        """Every figure of every record, in the order of the tasks: rows for a table or a data frame."""
        return [
            Figure(record.model, record.version, record.stage, metric, value, _reason(record, metric, value))
            for record in self.records.values()
            for metric, value in record.metrics.items()
        ]

    @property
    def objective(self) -> float | None:
        """The figure that a sweep looks at: ``<model>.<metric>``, from the model's benchmark or else its making.

        None where there is none, or none but a double's.
        """
        if self.flow.objective is None:
            return None
        model, _, metric = self.flow.objective.rpartition(".")
        names = (step.name for step in reversed(self.flow.steps) if step.model == model)
        found = [self.records[name] for name in names if name in self.records]
        return next((r.metrics[metric] for r in found if metric in r.metrics and not r.simulated), None)

    def folder(self, task: str) -> Path:
        """The folder with the files of a task; those that only the bucket has are fetched.

        Raises:
            KeyError: where this run has no such task.

        """
        return store.of(self.flow).fetch(self.records[task])


def _reason(record: Record, metric: str, value: float | None) -> str:
    return "" if value is not None else record.reasons.get(metric, "no reason is given")
