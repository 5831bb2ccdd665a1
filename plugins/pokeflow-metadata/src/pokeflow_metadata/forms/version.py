"""Forms of a version's ``metrics.json`` and ``training_config.json``."""

from dataclasses import dataclass
from typing import Annotated, Any

from pokeflow.schema import describe_field
from pokeflow_metadata.forms.common import (
    Backend,
    Cost,
    Device,
    Figures,
    Finished,
    Inputs,
    ModelType,
    Params,
    ProjectName,
    Protocol,
    Reasons,
    Revision,
    Runs,
    Runtime,
    SchemaVersion,
    Seconds,
    Started,
    Threads,
    Timing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """The figures of the task that produced the version, and what they mean."""

    task: Annotated[str, describe_field("The task that measured.")]
    backend: Backend
    revision: Revision
    digest: Annotated[str, describe_field("Of the task.")]
    inputs: Inputs
    started: Started
    finished: Finished
    seconds: Seconds
    cost_usd: Cost
    protocol: Protocol
    metrics: Figures
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """The figures of a benchmark, what they mean, and under which conditions they were taken."""

    task: Annotated[str, describe_field("The task that measured.")]
    backend: Backend
    revision: Revision
    digest: Annotated[str, describe_field("Of the task.")]
    inputs: Inputs
    started: Started
    finished: Finished
    seconds: Seconds
    cost_usd: Cost
    protocol: Protocol
    device: Device
    threads: Threads
    runtime: Runtime
    runs: Runs
    timing: Timing
    metrics: Figures
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class About:
    """Which version a document is of."""

    schema_version: SchemaVersion
    project: ProjectName
    model: Annotated[str, describe_field("The model.")]
    version: Annotated[str, describe_field("Its version.")]
    type: ModelType
    digest: Annotated[str, describe_field("Of all that decided this version.")]
    content: Annotated[str, describe_field("Of the files that its making left.")]


@dataclass(frozen=True, kw_only=True)
class Metrics(About):
    """Every figure of a version's making and benchmark."""

    making: Annotated[Making, describe_field("The making's figures.")]
    benchmark: Annotated[Benchmark | None, describe_field("The benchmark's figures.")]
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(About):
    """All that decided a version."""

    task: Annotated[str, describe_field("The task that made it.")]
    stage: Annotated[str, describe_field("Its stage.")]
    backend: Backend
    revision: Revision
    parents: Annotated[list[str], describe_field("<model>:<version>, the parent in the lineage first.")]
    inputs: Inputs
    params: Params
    preprocessing: Annotated[str | None, describe_field("Hash of the preprocessing that the model takes for granted.")]
    environment: Annotated[
        dict[str, Any],
        describe_field(
            "The software it was made with, as the record has it; a null in here was unknown to the record."
        ),
    ]
    reasons: Reasons
