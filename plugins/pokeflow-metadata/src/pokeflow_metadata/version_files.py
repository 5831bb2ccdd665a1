"""Documents ``metrics.json`` and ``training_config.json`` of a version.

Neither contains the registration, the tracking or the URI of the published tree, so that a version has the same bytes
in every store.
"""

from typing import Any

from pokeflow.project import Version
from pokeflow.types import Record
from pokeflow_metadata.benchmarks import BENCHMARK, NOT_IN_RECORD, conditions
from pokeflow_metadata.fields import fact, first
from pokeflow_metadata.forms import version as forms
from pokeflow_metadata.values import SCHEMA_VERSION, Unknown, cost, fill, plain
from pokeflow_metadata.values import metrics as figures

Object = dict[str, Any]

NOT_BENCHMARKED = "this version was published without a benchmark"


def metrics(version: Version) -> Object:
    """Build ``metrics.json``: metrics of training or compilation and of the benchmark, with protocols and reasons."""
    benchmark = version.records.get(BENCHMARK)
    form = fill(
        forms.Metrics,
        {
            **_header(version),
            "production": metrics_form(version.producer),
            "benchmark": Unknown(NOT_BENCHMARKED) if benchmark is None else metrics_form(benchmark),
        },
    )
    return plain(form)


def training_config(version: Version) -> Object:
    """Build ``training_config.json``: backend, parameters, inputs and software that determined the version."""
    producer = version.producer
    form = fill(
        forms.TrainingConfig,
        {
            **_header(version),
            "task": producer.task,
            "stage": producer.stage,
            "backend": producer.backend,
            "revision": producer.revision,
            "parents": list(version.parents),
            "inputs": producer.inputs,
            "params": producer.params,
            "preprocessing": first(fact(producer, "preprocessing"), absent=NOT_IN_RECORD),
            "environment": producer.environment,
        },
    )
    return plain(form)


def metrics_form(record: Record) -> forms.ProducerMetrics | forms.Benchmark:
    """Return the metrics of a record with their protocol, and of a benchmark also its conditions."""
    benchmark_conditions = conditions(record) if record.stage == BENCHMARK else {}
    form: type[forms.ProducerMetrics | forms.Benchmark] = (
        forms.Benchmark if record.stage == BENCHMARK else forms.ProducerMetrics
    )
    return fill(
        form,
        {
            "task": record.task,
            "backend": record.backend,
            "revision": record.revision,
            "digest": record.digest,
            "inputs": record.inputs,
            "started": record.started,
            "finished": record.finished,
            "seconds": record.seconds,
            "cost_usd": cost(record),
            "protocol": first(fact(record, "protocol"), absent=NOT_IN_RECORD),
            **benchmark_conditions,
            "metrics": figures(record),
        },
    )


def _header(version: Version) -> Object:
    return {
        "schema_version": SCHEMA_VERSION,
        "project": version.about.name,
        "model": version.model,
        "version": version.version,
        "type": version.type,
        "digest": version.producer.digest,
        "content": version.producer.content,
    }
