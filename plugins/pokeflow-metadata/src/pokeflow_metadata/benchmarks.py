"""Document ``performance_benchmarks.json``: benchmarks of each version, compared with its parent and teacher."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.project import Project, Receipt, Versions, producing_record, version_name
from pokeflow.project import records as records_of
from pokeflow.project import versions as versions_of
from pokeflow.types import About, Record
from pokeflow_metadata import published
from pokeflow_metadata.fields import fact, first
from pokeflow_metadata.forms import performance_benchmarks as form
from pokeflow_metadata.values import SCHEMA_VERSION, Unknown, cost, figure, fill, metrics, plain

BENCHMARK = "benchmark"


NOT_IN_RECORD = "not recorded"
CONDITIONS = {
    "device": "device",
    "threads": "threads",
    "runtime": "framework",
    "runs": "runs",
    "timing": "timing",
    "protocol": "protocol",
}
"""Conditions without which a benchmark's metrics have no meaning, and the facts that contain them."""
SAME_MACHINE = ("device", "threads")
LATENCY, SIZE, ACCURACY = "latency_p50_ms", "size_mb", "top1_accuracy"
DIGITS = 6
"""Decimals of derived metrics; further decimals are floating point noise."""

Object = dict[str, Any]


def build(project: Project) -> Object:
    """Build the document of a project."""
    return document(project.about, project.receipts)


def document(about: About, receipts: Iterable[Receipt]) -> Object:
    """Build the benchmarks of all published versions, by model and version."""
    all_versions = versions_of(receipts)
    models: dict[str, dict[str, form.VersionBenchmark]] = {}
    for receipt in all_versions.values():
        models.setdefault(receipt.model, {})[receipt.version] = _version(receipt, all_versions)
    return plain(form.PerformanceBenchmarks(project=about.name, schema_version=SCHEMA_VERSION, models=models))


def benchmark_of(receipt: Receipt) -> Record | Unknown:
    """Return the benchmark record of a version, or Unknown with the reason."""
    record = records_of(receipt).get(BENCHMARK)
    if record is not None:
        return record
    return Unknown(
        published.unrecorded_reason(receipt) if receipt.origin else f"{version_name(receipt)} is not benchmarked"
    )


def _version(receipt: Receipt, all_versions: Versions) -> form.VersionBenchmark:
    producer = producing_record(receipt)
    relatives = {"parent": published.parent(receipt, all_versions), "teacher": published.teacher(receipt, all_versions)}
    return fill(
        form.VersionBenchmark,
        {
            "type": receipt.type or Unknown(published.unrecorded_reason(receipt)),
            "digest": producer.digest if producer else receipt.digest or Unknown(published.unrecorded_reason(receipt)),
            "benchmarks": [_benchmark(record) for record in receipt.records if record.stage == BENCHMARK],
            "comparisons": form.Comparisons(
                **{name: _compare(receipt, relative) for name, relative in relatives.items()}
            ),
        },
    )


def _benchmark(record: Record) -> form.Benchmark:
    return fill(
        form.Benchmark,
        {
            "backend": record.backend,
            "revision": record.revision,
            "digest": record.digest,
            **conditions(record),
            "executor": record.executor,
            "started": record.started,
            "finished": record.finished,
            "cost_usd": cost(record),
            "params": record.params,
            "inputs": record.inputs,
            "metrics": metrics(record),
        },
    )


def conditions(record: Record) -> Object:
    """Return the conditions of a benchmark; unknown ones have a reason."""
    return {name: first(fact(record, fact_name), absent=NOT_IN_RECORD) for name, fact_name in CONDITIONS.items()}


def _compare(receipt: Receipt, relative: Receipt | Unknown) -> form.Comparison:
    """Compare the benchmarks of a version and a relative.

    Ratios are this version's metric divided by the relative's; the accuracy gap is the relative's accuracy less this
    version's.
    """
    if isinstance(relative, Unknown):
        names = ("against", "latency_ratio", "size_ratio", "accuracy_gap")
        return fill(form.Comparison, dict.fromkeys(names, relative))
    own_benchmark, other_benchmark = benchmark_of(receipt), benchmark_of(relative)
    return fill(
        form.Comparison,
        {
            "against": version_name(relative),
            "latency_ratio": _ratio(own_benchmark, other_benchmark, LATENCY, SAME_MACHINE),
            "size_ratio": _ratio(own_benchmark, other_benchmark, SIZE, ()),
            "accuracy_gap": accuracy_gap(own_benchmark, other_benchmark),
        },
    )


def _ratio(
    candidate: Record | Unknown, reference: Record | Unknown, name: str, alike: Iterable[str]
) -> float | Unknown:
    pair = _pair(candidate, reference, name, alike)
    if isinstance(pair, Unknown):
        return pair
    if pair[0] < 0 or pair[1] <= 0:
        return Unknown(f"{name} is {pair[0]:g} here and {pair[1]:g} there, so no ratio can be computed")
    return round(pair[0] / pair[1], DIGITS)


def accuracy_gap(candidate: Record | Unknown, reference: Record | Unknown) -> float | Unknown:
    """Return the reference's top-1 accuracy less the candidate's, a difference of shares.

    It is Unknown if protocol or data set differ, because only accuracies on the same queries are comparable.
    """
    pair = _pair(candidate, reference, ACCURACY, ("protocol",))
    if isinstance(pair, Unknown):
        return pair
    if not isinstance(candidate, Unknown) and not isinstance(reference, Unknown):
        data = [_data(record) for record in (candidate, reference)]
        if data[0] != data[1]:
            return Unknown("measured on two different data sets")
    if not all(0 <= share <= 1 for share in pair):
        return Unknown(f"{ACCURACY} is {pair[0]:g} here and {pair[1]:g} there, which are not fractions of 1")
    return round(pair[1] - pair[0], DIGITS)


def _pair(
    candidate: Record | Unknown, reference: Record | Unknown, name: str, alike: Iterable[str]
) -> tuple[float, float] | Unknown:
    """Return a metric of both records; Unknown if any fact in ``alike`` differs between them."""
    if isinstance(candidate, Unknown):
        return candidate
    if isinstance(reference, Unknown):
        return reference
    for condition in alike:
        candidate_fact, reference_fact = candidate.facts.get(condition), reference.facts.get(condition)
        if candidate_fact != reference_fact:
            return Unknown(
                f"measured under different conditions: {condition} {candidate_fact!r} here, {reference_fact!r} there"
            )
    values = [figure(record, name) for record in (candidate, reference)]
    for value, record in zip(values, (candidate, reference), strict=True):
        if isinstance(value, Unknown):
            return Unknown(f"{record.task}: {name}: {value.reason}")
    candidate_value, reference_value = (value for value in values if not isinstance(value, Unknown))
    return candidate_value, reference_value


def _data(record: Record) -> Mapping[str, str]:
    return {task: content for task, content in record.inputs.items() if task.startswith("prepare:")}
