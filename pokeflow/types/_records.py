"""Finished tasks: their files, records and inputs, and their paths in every store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pokeflow.stages import DATA, PREPARE, PROJECT

SIMULATED = "simulated"
"""Fact that marks a result of a simulated compiler or device, and every result that is derived from such a result."""


INSTANCE, JOB_SECONDS = "instance_type", "job_seconds"
"""Keys of a record's environment: the machine type (executors' parameters use the same name), and the seconds for
which the machine was occupied, where these are more than the backend's own."""
TASKS, RECORD, LOG, TELEMETRY = "tasks", "record.json", "log.txt", "telemetry"
"""Folder of finished tasks in a store; in the folder of each task: the names of its record, log and telemetry.

Log and telemetry are not part of a result's content checksum, because their timestamps differ with every run.
"""
SHARED_MARK = "shared.json"
"""File in a task's folder that exists once a bucket has the result: it holds the bucket's URI and the start time."""
RECEIPTS = "metadata/receipts/"
"""Folder of the published tree that holds receipts; no layout may use it."""


def task_path(stage: str, model: str, digest: str) -> str:
    """Return the folder of a finished task below any store: ``tasks/<stage>/<model>/<digest>``."""
    return f"{TASKS}/{stage}/{model}/{digest}"


def task_prefix(stage: str, model: str | None = None) -> str:
    """Return the path prefix, ending in ``/``, of a stage's finished tasks, or of those of one model."""
    return f"{TASKS}/{stage}/{model}/" if model else f"{TASKS}/{stage}/"


def split_task_path(path: str) -> tuple[str, str] | None:
    """Split a path below a store into a finished task's folder and the path inside it; None if it is in no task."""
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
    """Record of a finished task and of everything that determined its result; only its bill is ever added later.

    ``metrics`` are numbers; ``None`` is an unknown figure and has its reason in ``reasons``. ``facts`` are further
    properties of the result (protocol, parameter count, preprocessing hash). ``inputs`` maps each input's task name to
    the ``content`` it had when read. ``started`` and ``finished`` are UTC, ISO 8601; ``seconds`` is the run time of
    the backend.
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
        """True if a simulator produced the result or one of its inputs; it is then never registered or published."""
        return bool(self.facts.get(SIMULATED))

    @property
    def makes_model(self) -> bool:
        """True if this task produced its model; all other tasks of the model read the output of that one."""
        if self.stage == PREPARE or self.model in (DATA, PROJECT):
            return False
        return all(task.partition(":")[2] != self.model for task in self.inputs)

    @property
    def parents(self) -> tuple[str, ...]:
        """Tasks that produced the parent models: all inputs except the data set and tasks of the same model."""
        parts = {task: task.partition(":") for task in self.inputs}
        return tuple(task for task, (stage, _, model) in parts.items() if stage != PREPARE and model != self.model)


@dataclass(frozen=True, slots=True)
class Input:
    """A finished task that another task reads: its record, and the folder that holds its files."""

    record: Record
    folder: Path


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """Settings of the shared bucket, as plain data that is sent with a task; credentials come from the machine."""

    uri: str
    endpoint: str | None = None
    region: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
