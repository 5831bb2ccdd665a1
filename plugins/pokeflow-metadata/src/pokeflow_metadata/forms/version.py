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
class ProducerMetrics:
    """The figures of the task that produced the version, and what they mean."""

    task: Annotated[str, describe_field("The task that measured.")]
    backend: Backend
    revision: Revision
    digest: Annotated[str, describe_field("Digest of the task.")]
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
    """The figures of a benchmark, their meanings, and the conditions under which they were measured."""

    task: Annotated[str, describe_field("The task that measured.")]
    backend: Backend
    revision: Revision
    digest: Annotated[str, describe_field("Digest of the task.")]
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
    """The version that a document describes."""

    schema_version: SchemaVersion
    project: ProjectName
    model: Annotated[str, describe_field("The model.")]
    version: Annotated[str, describe_field("Its version.")]
    type: ModelType
    digest: Annotated[str, describe_field("Digest of everything that determined this version.")]
    content: Annotated[str, describe_field("Digest of the files of the task that produced it.")]


@dataclass(frozen=True, kw_only=True)
class Metrics(About):
    """Every figure of a version's production and benchmark."""

    production: Annotated[ProducerMetrics, describe_field("Figures of the task that produced the version.")]
    benchmark: Annotated[Benchmark | None, describe_field("Figures of the benchmark.")]
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(About):
    """Everything that determined a version."""

    task: Annotated[str, describe_field("The task that produced it.")]
    stage: Annotated[str, describe_field("Its stage.")]
    backend: Backend
    revision: Revision
    parents: Annotated[list[str], describe_field("<model>:<version>, the parent in the lineage first.")]
    inputs: Inputs
    params: Params
    preprocessing: Annotated[str | None, describe_field("Hash of the preprocessing that the model expects.")]
    environment: Annotated[
        dict[str, Any],
        describe_field("Software that produced it, as recorded; a null in here is unknown."),
    ]
    reasons: Reasons
