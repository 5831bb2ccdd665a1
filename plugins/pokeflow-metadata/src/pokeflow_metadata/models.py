"""The manifest's entry of a model: its fields, and the records and facts that they are read from."""

from collections.abc import Mapping
from typing import Any

from pokeflow.project import Receipt, Versions, producing_record, version_name
from pokeflow.project import records as records_of
from pokeflow.types import About, Record
from pokeflow_metadata import benchmarks, formats, published
from pokeflow_metadata.facts import NOT_RECORDED, facts_of
from pokeflow_metadata.fields import NUMBER, day_of, fact, first, first_metric, first_stated
from pokeflow_metadata.forms import models as forms
from pokeflow_metadata.values import Unknown, cost, fill

NOT_MEASURED = "it was not measured"
TOP1 = ("top1_accuracy", "task_accuracy")
EMBEDDING_QUALITY = Unknown("a word, not a measurement: read top1_accuracy and its protocol")

METRICS: Mapping[str, type[forms.Metrics]] = {
    "teacher": forms.TeacherMetrics,
    "student": forms.StudentMetrics,
    "optimized": forms.OptimizedMetrics,
}
Object = dict[str, Any]


def model(about: About, receipt: Receipt, all_versions: Versions) -> forms.Entry:
    """Build the manifest's entry of a model from its newest version.

    Args:
        about: The project.
        receipt: Receipt of the newest version.
        all_versions: All published versions; their names are listed in the entry.

    """
    records, receipt_facts, producer = records_of(receipt), receipt.facts, producing_record(receipt)
    lost = Unknown(published.unrecorded_reason(receipt))
    alone = Unknown(published.NO_PARENT) if producer else lost
    fields: Object = {
        "version": receipt.version,
        "type": receipt.type or lost,
        "parent_model": receipt.parents[0] if receipt.parents else alone,
        **_network(records, receipt_facts),
        **_of_type(receipt.type, records, receipt_facts),
        "size_mb": first(
            first_metric(records.get("benchmark"), "size_mb"),
            first_metric(producer, "size_mb"),
            first_stated(receipt_facts, "size_mb", kind=NUMBER),
        ),
        "model_registry_arn": first(
            fact(records.get("register"), "model_package_arn"),
            fact(records.get("register"), "model_registry_arn"),
            first_stated(receipt_facts, "model_registry_arn", "model_package_arn"),
            absent="no registration with SageMaker is recorded",
        ),
        "s3_path": s3_path(about, published.folder(receipt)),
        "digest": receipt.digest or lost,
        "content": receipt.content or lost,
        "cost_usd": cost(producer) if producer else lost,
        "versions": [other.version for other in all_versions.values() if other.model == receipt.model],
    }
    if producer and isinstance(fields.get("training_job"), Unknown):
        fields["training_job"] = Unknown(
            f"trained by executor {producer.executor!r}; its record names no SageMaker job"
        )
    if receipt.type == "student":
        fields["compression_ratio"] = _compression(receipt, all_versions, fields["compression_ratio"])
        fields["training_approach"] = published.approach(receipt)
    fields |= {"metrics": _metrics(receipt, all_versions), "performance": _performance(receipt)}
    form = forms.OF_TYPE.get(receipt.type, forms.Model)
    return fill(form, {name: lost if _is_not_recorded(value) else value for name, value in fields.items()})


def _network(records: Mapping[str, Record], receipt_facts: Mapping[str, Any]) -> Object:
    """Return the manifest fields of a network that every model type has."""
    producer, bench = records.get("producer"), records.get("benchmark")
    return {
        "architecture": first(fact(producer, "architecture"), first_stated(receipt_facts, "architecture")),
        "parameters": first(
            fact(producer, "parameters", formats.count),
            first_stated(receipt_facts, "parameters", kind=(int, str), form=formats.count),
        ),
        "parameters_count": _parameters(records, receipt_facts),
        "embedding_dim": first(
            fact(producer, "embedding_dim"),
            fact(bench, "embedding_dim"),
            first_stated(receipt_facts, "embedding_dim", kind=int, least=1),
        ),
        "input_size": first(
            fact(producer, "input_size", formats.square),
            fact(bench, "input_size", formats.square),
            first_stated(receipt_facts, "input_size", kind=(int, str), form=formats.square),
        ),
        "framework": first(fact(producer, "framework"), first_stated(receipt_facts, "framework")),
    }


def _parameters(records: Mapping[str, Record], receipt_facts: Mapping[str, Any]) -> int | Unknown:
    count: int | Unknown = first(
        fact(records.get("producer"), "parameters"),
        first_stated(receipt_facts, "parameters_count", "parameters", kind=int),
    )
    return count


def _of_type(type_: str, records: Mapping[str, Record], receipt_facts: Mapping[str, Any]) -> Object:
    """Return the manifest fields that only this type of model has."""
    producer, bench = records.get("producer"), records.get("benchmark")
    trained = {
        "training_job": first(fact(producer, "training_job"), first_stated(receipt_facts, "training_job")),
        "training_date": first(
            day_of(producer, formats.day), first_stated(receipt_facts, "training_date", "finished", form=formats.day)
        ),
    }
    if type_ == "teacher":
        return trained
    if type_ == "student":
        kinds = (int, float, str)
        ratio = first_stated(receipt_facts, "compression_ratio", kind=kinds, form=formats.ratio)
        return {**trained, "compression_ratio": first(fact(producer, "compression_ratio", formats.ratio), ratio)}
    if type_ != "optimized":
        return {}
    size = first(first_metric(producer, "size_mb"), first_metric(bench, "size_mb"), absent="")
    return {
        "format": first(fact(producer, "format"), first_stated(receipt_facts, "format")),
        "quantization": first(fact(producer, "quantization"), first_stated(receipt_facts, "quantization")),
        "size": first(
            size if isinstance(size, Unknown) else formats.megabytes(size),
            first_stated(receipt_facts, "size", "size_mb", kind=(int, float, str), form=formats.megabytes),
        ),
        "target_hardware": first(
            fact(producer, "target_hardware"),
            fact(bench, "device"),
            first_stated(receipt_facts, "target_hardware", "device"),
        ),
        "compilation_date": first(
            day_of(producer, formats.day), first_stated(receipt_facts, "compilation_date", "finished", form=formats.day)
        ),
    }


def _is_not_recorded(value: Any) -> bool:
    """Return whether a value is unknown only because no record contains it."""
    return isinstance(value, Unknown) and value.reason == NOT_RECORDED


def s3_path(about: About, folder: str | Unknown) -> str | Unknown:
    """Return the S3 URI of a folder in the published tree; Unknown if the tree is local or the folder is unknown."""
    if not about.uri.startswith("s3://"):
        return Unknown("the published tree is in a local folder")
    return folder if isinstance(folder, Unknown) else f"{about.uri.rstrip('/')}/{folder}"


def _compression(receipt: Receipt, all_versions: Versions, recorded: str | Unknown) -> str | Unknown:
    """Return the teacher's parameter count divided by the student's, as in ``64.7x``.

    If the teacher or a count is unknown, it is the ratio that the student's training recorded, or Unknown.
    """
    teacher = published.teacher(receipt, all_versions)
    if isinstance(teacher, Unknown):
        return recorded if isinstance(recorded, str) else teacher
    counts = []
    for version in (teacher, receipt):
        count = _parameters(records_of(version), version.facts)
        if isinstance(count, Unknown) or not count:
            reason = count.reason if isinstance(count, Unknown) else "it has no parameters"
            return recorded if isinstance(recorded, str) else Unknown(f"{version_name(version)}: {reason}")
        counts.append(count)
    return formats.ratio(counts[0] / counts[1])


def _metrics(receipt: Receipt, all_versions: Versions) -> forms.Metrics:
    """Return the metrics of a version, and the protocol of each known one."""
    records, receipt_facts = records_of(receipt), receipt.facts
    evaluation, producer = accuracy_record(records), records.get("producer")
    fields: Object = {
        "top1_accuracy": _share(evaluation, receipt_facts, *TOP1),
        "top5_accuracy": _share(evaluation, receipt_facts, "top5_accuracy"),
    }
    protocol = dict.fromkeys(fields, _protocol(receipt, evaluation))
    if receipt.type == "teacher":
        fields["embedding_quality"] = EMBEDDING_QUALITY
    if receipt.type == "student":
        fields["accuracy_gap"], protocol["accuracy_gap"] = _gap(receipt, published.teacher(receipt, all_versions))
    for name, value in _of_producer(receipt.type, producer, receipt_facts).items():
        fields[name], protocol[name] = value, _protocol(receipt, producer)
    if not records:
        # Without any record, all metrics are unknown for the same reason.
        lost = Unknown(published.unrecorded_reason(receipt))
        fields = {name: lost if value == Unknown(NOT_MEASURED) else value for name, value in fields.items()}
    reasons = {name: text for name, text in protocol.items() if not isinstance(fields[name], Unknown)}
    return fill(METRICS.get(receipt.type, forms.OtherMetrics), {**fields, "protocol": reasons})


def _share(record: Record | None, receipt_facts: Mapping[str, Any], *names: str) -> float | Unknown:
    share: float | Unknown = first(
        first_metric(record, *names, most=1),
        first_stated(receipt_facts, *names, kind=NUMBER, most=1),
        absent=NOT_MEASURED,
    )
    return share


def _of_producer(type_: str, producer: Record | None, receipt_facts: Mapping[str, Any]) -> Object:
    """Return the metrics that training or compilation measures for this type of model only."""
    figures = {
        "student": {"cosine_similarity_to_teacher": ("cosine_similarity", 1.001)},
        "optimized": {
            "cosine_similarity_to_parent": ("cosine_to_parent", 1.001),
            "accuracy_drop": ("accuracy_drop", 1.0),
        },
    }
    return {
        name: first(
            first_metric(producer, figure, least=-most, most=most),
            first_stated(receipt_facts, name, figure, kind=NUMBER, least=-most, most=most),
            absent=NOT_MEASURED,
        )
        for name, (figure, most) in figures.get(type_, {}).items()
    }


def accuracy_record(records: Mapping[str, Record]) -> Record | None:
    """Return the record that supplies the accuracies: benchmark (test split), else training (val split), or None."""
    names = {*TOP1, "top5_accuracy"}
    candidates = (records[stage] for stage in (benchmarks.BENCHMARK, "producer") if stage in records)
    return next((record for record in candidates if names & set(record.metrics)), None)


def _protocol(receipt: Receipt, record: Record | None) -> str:
    """Return the stage that measured and its protocol, as text."""
    if record is None:
        return published.unrecorded_reason(receipt)
    return f"{record.stage}: {facts_of(record).protocol or 'no protocol is recorded'}"


def _gap(receipt: Receipt, teacher: Receipt | Unknown) -> tuple[float | Unknown, str]:
    """Return the teacher's top-1 accuracy less the student's, and its protocol.

    It is computed from both benchmarks if possible, else read from the student's training or the migrated facts.
    """
    own_benchmark = benchmarks.benchmark_of(receipt)
    gap = (
        teacher
        if isinstance(teacher, Unknown)
        else benchmarks.accuracy_gap(own_benchmark, benchmarks.benchmark_of(teacher))
    )
    if isinstance(own_benchmark, Record) and not isinstance(gap, Unknown):
        return gap, _protocol(receipt, own_benchmark)
    recorded = first(
        first_metric(producing_record(receipt), "distillation_gap", least=-1, most=1),
        first_stated(receipt.facts, "accuracy_gap", "distillation_gap", kind=NUMBER, least=-1, most=1),
        absent=NOT_MEASURED,
    )
    return gap if isinstance(recorded, Unknown) else recorded, _protocol(receipt, producing_record(receipt))


def _performance(receipt: Receipt) -> forms.Performance:
    records, receipt_facts = records_of(receipt), receipt.facts
    bench, producer = records.get(benchmarks.BENCHMARK), records.get("producer")
    latency, frames, power = (
        "latency_p50_ms",
        ("throughput_fps", "throughput_fps_batch1"),
        ("power_w", "power_consumption_w"),
    )
    fields: Object = {
        "inference_latency_ms": first(
            first_metric(bench, latency),
            first_metric(producer, latency),
            first_stated(receipt_facts, "inference_latency_ms", latency, kind=NUMBER),
        ),
        "throughput_fps": first(first_metric(bench, *frames), first_stated(receipt_facts, *frames, kind=NUMBER)),
        "power_consumption_w": first(
            first_metric(bench, *power),
            first_stated(receipt_facts, *reversed(power), kind=NUMBER),
            absent="not measured",
        ),
        "device": first(fact(bench, "device"), first_stated(receipt_facts, "device")),
    }
    benchmark = benchmarks.benchmark_of(receipt)
    if isinstance(benchmark, Unknown):
        fields = {name: benchmark if isinstance(value, Unknown) else value for name, value in fields.items()}
    return fill(forms.Performance, fields)
