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


UNSAID = "the record does not say"
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
    known = versions_of(receipts)
    models: dict[str, dict[str, form.VersionBenchmark]] = {}
    for receipt in known.values():
        models.setdefault(receipt.model, {})[receipt.version] = _version(receipt, known)
    return plain(form.PerformanceBenchmarks(project=about.name, schema_version=SCHEMA_VERSION, models=models))


def benchmark_of(receipt: Receipt) -> Record | Unknown:
    """Return the benchmark record of a version, or Unknown with the reason."""
    record = records_of(receipt).get(BENCHMARK)
    if record is not None:
        return record
    return Unknown(published.untold(receipt) if receipt.origin else f"{version_name(receipt)} is not benchmarked")


def _version(receipt: Receipt, known: Versions) -> form.VersionBenchmark:
    producer = producing_record(receipt)
    relatives = {"parent": published.parent(receipt, known), "teacher": published.teacher(receipt, known)}
    return fill(
        form.VersionBenchmark,
        {
            "type": receipt.type or Unknown(published.untold(receipt)),
            "digest": producer.digest if producer else receipt.digest or Unknown(published.untold(receipt)),
            "benchmarks": [_benchmark(record) for record in receipt.records if record.stage == BENCHMARK],
            "comparisons": form.Comparisons(**{name: _compared(receipt, one) for name, one in relatives.items()}),
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
    return {name: first(fact(record, known), absent=UNSAID) for name, known in CONDITIONS.items()}


def _compared(receipt: Receipt, relative: Receipt | Unknown) -> form.Comparison:
    """Compare the benchmarks of a version and a relative.

    Ratios are this version's metric divided by the relative's; the accuracy gap is the relative's accuracy less this
    version's.
    """
    if isinstance(relative, Unknown):
        names = ("against", "latency_ratio", "size_ratio", "accuracy_gap")
        return fill(form.Comparison, dict.fromkeys(names, relative))
    mine, other = benchmark_of(receipt), benchmark_of(relative)
    return fill(
        form.Comparison,
        {
            "against": version_name(relative),
            "latency_ratio": _ratio(mine, other, LATENCY, SAME_MACHINE),
            "size_ratio": _ratio(mine, other, SIZE, ()),
            "accuracy_gap": accuracy_gap(mine, other),
        },
    )


def _ratio(mine: Record | Unknown, other: Record | Unknown, name: str, alike: Iterable[str]) -> float | Unknown:
    pair = _pair(mine, other, name, alike)
    if isinstance(pair, Unknown):
        return pair
    if pair[0] < 0 or pair[1] <= 0:
        return Unknown(f"{name} is {pair[0]:g} here and {pair[1]:g} there, of which no ratio can be made")
    return round(pair[0] / pair[1], DIGITS)


def accuracy_gap(mine: Record | Unknown, other: Record | Unknown) -> float | Unknown:
    """Return the other's top-1 accuracy less this one's, a difference of shares.

    It is Unknown if protocol or data set differ, because only accuracies on the same queries are comparable.
    """
    pair = _pair(mine, other, ACCURACY, ("protocol",))
    if isinstance(pair, Unknown):
        return pair
    if not isinstance(mine, Unknown) and not isinstance(other, Unknown):
        data = [_data(record) for record in (mine, other)]
        if data[0] != data[1]:
            return Unknown("measured on two different data sets")
    if not all(0 <= share <= 1 for share in pair):
        return Unknown(f"{ACCURACY} is {pair[0]:g} here and {pair[1]:g} there, which are no shares of 1")
    return round(pair[1] - pair[0], DIGITS)


def _pair(
    mine: Record | Unknown, other: Record | Unknown, name: str, alike: Iterable[str]
) -> tuple[float, float] | Unknown:
    """Return a metric of both records; Unknown if any fact in ``alike`` differs between them."""
    if isinstance(mine, Unknown):
        return mine
    if isinstance(other, Unknown):
        return other
    for condition in alike:
        here, there = mine.facts.get(condition), other.facts.get(condition)
        if here != there:
            return Unknown(f"measured under different conditions: {condition} {here!r} here, {there!r} there")
    values = [figure(record, name) for record in (mine, other)]
    for value, record in zip(values, (mine, other), strict=True):
        if isinstance(value, Unknown):
            return Unknown(f"{record.task}: {name}: {value.reason}")
    first, second = (value for value in values if not isinstance(value, Unknown))
    return first, second


def _data(record: Record) -> Mapping[str, str]:
    return {task: content for task, content in record.inputs.items() if task.startswith("prepare:")}
