"""Form of ``performance_benchmarks.json``."""

from dataclasses import dataclass
from typing import Annotated

from pokeflow.schema import describe_field
from pokeflow_metadata.forms.common import (
    Backend,
    Cost,
    Device,
    Figures,
    Finished,
    Inputs,
    Params,
    ProjectName,
    Protocol,
    Reasons,
    Revision,
    Runs,
    Runtime,
    SchemaVersion,
    Started,
    Threads,
    Timing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark: its figures and their conditions."""

    backend: Backend
    revision: Revision
    digest: Annotated[str, describe_field("Digest of the benchmark's task.")]
    device: Device
    threads: Threads
    runtime: Runtime
    runs: Runs
    timing: Timing
    protocol: Protocol
    executor: Annotated[str, describe_field("Executor of the task.")]
    started: Started
    finished: Finished
    cost_usd: Cost
    params: Params
    inputs: Inputs
    metrics: Figures
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of the benchmarks of a version and of an ancestor."""

    against: Annotated[str | None, describe_field("The other version.")]
    latency_ratio: Annotated[
        float | None,
        describe_field(
            "This version's latency_p50_ms divided by the other's, on the same device and threads: below 1 is faster.",
            minimum=0,
        ),
    ]
    size_ratio: Annotated[
        float | None, describe_field("This version's size_mb divided by the other's: below 1 is smaller.", minimum=0)
    ]
    accuracy_gap: Annotated[
        float | None,
        describe_field(
            "The other's top1_accuracy minus this version's, under the same protocol: above 0, this one is worse.",
            minimum=-1,
            maximum=1,
        ),
    ]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """Comparisons of a version with its ancestors."""

    parent: Annotated[Comparison, describe_field("Comparison with the parent in the lineage.")]
    teacher: Annotated[Comparison, describe_field("Comparison with the nearest teacher.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionBenchmark:
    """Benchmarks and comparisons of one version."""

    type: Annotated[str | None, describe_field("The model's type in the lineage.")]
    digest: Annotated[str | None, describe_field("Digest of the task that produced this version.")]
    benchmarks: Annotated[list[Benchmark], describe_field("Every benchmark of the version.")]
    comparisons: Annotated[Comparisons, describe_field("Derived from the benchmarks.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceBenchmarks:
    """Every benchmark of every published version."""

    project: ProjectName
    schema_version: SchemaVersion
    models: Annotated[dict[str, dict[str, VersionBenchmark]], describe_field("Benchmarks by model and version.")]
