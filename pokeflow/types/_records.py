"""Finished tasks: their files, records and inputs, and where they lie in every store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokeflow.stages import DATA, PREPARE, PROJECT

SIMULATED = "simulated"
"""The fact of a result that a double of a compiler or a device made; what is made of it has it as well."""


INSTANCE, JOB_SECONDS = "instance_type", "job_seconds"
"""Keys of a record's environment: the kind of machine, which executors' parameters call by the same name, and how long
it was taken, where that is more than the backend took."""
TASKS, RECORD, LOG, TELEMETRY = "tasks", "record.json", "log.txt", "telemetry"
"""The folder of finished tasks in a store; in each task's, the names of its record, its log and its telemetry.

Log and telemetry are left out of a result's content, for their times differ with every run.
"""
SHARED_MARK = "shared.json"
"""Lies there too once a bucket has the result: where, and of which making."""
RECEIPTS = "metadata/receipts/"
"""The folder of the published tree that holds receipts, which no layout may use."""


def task_path(stage: str, model: str, digest: str) -> str:
    """Return the folder of a finished task below any store: ``tasks/<stage>/<model>/<digest>``."""
    return f"{TASKS}/{stage}/{model}/{digest}"


def task_prefix(stage: str, model: str | None = None) -> str:
    """Return what the folders of a stage's finished tasks begin with, or those of one model, ``/`` at its end."""
    return f"{TASKS}/{stage}/{model}/" if model else f"{TASKS}/{stage}/"


def split_task_path(path: str) -> tuple[str, str] | None:
    """Split a path below a store into the folder of a finished task and the path inside; None where it is of none."""
    parts = path.split("/", 4)
    if len(parts) < 4 or parts[0] != TASKS or not all(parts[1:4]):
        return None
    return "/".join(parts[:4]), "".join(parts[4:])


@dataclass(frozen=True, slots=True)
class File:
    """One file of a finished task: path within its folder, size in bytes, content checksum."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a finished task left behind, and everything that decided it. Never edited, but for the bill of its machine.

    ``metrics`` are numbers; a ``None`` is an unknown figure and has its reason in ``reasons``.
    ``facts`` are what else is worth telling (protocol, parameter count, preprocessing hash).
    ``inputs`` maps each input's task name to the ``content`` it had when it was read.
    ``started`` and ``finished`` are UTC, ISO 8601; ``seconds`` is what the backend took.
    """

    task: str
    stage: str
    backend: str
    revision: str
    model: str
    version: str
    type: str
    digest: str
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    metrics: Mapping[str, float | None]
    facts: Mapping[str, Any]
    reasons: Mapping[str, str]
    files: tuple[File, ...]
    content: str
    environment: Mapping[str, Any]
    executor: str
    started: str
    finished: str
    seconds: float
    cost_usd: float | None = None

    @property
    def path(self) -> str:
        """The task's folder below any store."""
        return task_path(self.stage, self.model, self.digest)

    @property
    def simulated(self) -> bool:
        """Whether a double made it, or something that it was made of: no such result is registered or published."""
        return bool(self.facts.get(SIMULATED))

    @property
    def makes_model(self) -> bool:
        """Whether this is the task that made its model: whatever else is done to a model reads what that one left."""
        if self.stage == PREPARE or self.model in (DATA, PROJECT):
            return False
        return all(task.partition(":")[2] != self.model for task in self.inputs)

    @property
    def parents(self) -> tuple[str, ...]:
        """The tasks that made the models this one was made of: its inputs but the data set, and its own model's."""
        named = {task: task.partition(":") for task in self.inputs}
        return tuple(task for task, (stage, _, model) in named.items() if stage != PREPARE and model != self.model)


@dataclass(frozen=True, slots=True)
class Input:
    """A finished task that another one reads: its record, and the folder its files lie in."""

    record: Record
    folder: Path


@dataclass(frozen=True, slots=True)
class Shared:
    """The bucket that machines share, as plain data that travels with a task; credentials are found where it runs."""

    uri: str
    endpoint: str | None = None
    region: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
