"""A model's part of the manifest: which field of which record tells what."""

from collections.abc import Mapping
from typing import Any

from pokeflow.project import Receipt, Versions, making, version_name
from pokeflow.project import records as records_of
from pokeflow.types import About, Record
from pokeflow_metadata import benchmarks, published, units
from pokeflow_metadata.facts import UNTOLD, facts_of
from pokeflow_metadata.fields import NUMBER, day_of, fact, first, measured, stated
from pokeflow_metadata.forms import models as forms
from pokeflow_metadata.values import Unknown, cost, fill

NOT_MEASURED = "what was measured of it holds no such figure"
TOP1 = ("top1_accuracy", "task_accuracy")
EMBEDDING_QUALITY = Unknown("a word, not a measurement: read top1_accuracy and its protocol")

METRICS: Mapping[str, type[forms.Metrics]] = {
    "teacher": forms.TeacherMetrics,
    "student": forms.StudentMetrics,
    "optimized": forms.OptimizedMetrics,
}
Object = dict[str, Any]


def model(about: About, receipt: Receipt, known: Versions) -> forms.Entry:
    """The manifest's entry of a model: its newest version, and the names of all."""
    records, given, made = records_of(receipt), receipt.facts, making(receipt)
    lost = Unknown(published.untold(receipt))
    alone = Unknown(published.NO_PARENT) if made else lost
    fields: Object = {
        "version": receipt.version,
        "type": receipt.type or lost,
        "parent_model": receipt.parents[0] if receipt.parents else alone,
        **_network(records, given),
        **_of_type(receipt.type, records, given),
        "size_mb": first(
            measured(records.get("benchmark"), "size_mb"),
            measured(made, "size_mb"),
            stated(given, "size_mb", kind=NUMBER),
        ),
        "model_registry_arn": first(
            fact(records.get("register"), "model_package_arn"),
            fact(records.get("register"), "model_registry_arn"),
            stated(given, "model_registry_arn", "model_package_arn"),
            absent="no registration with SageMaker is recorded",
        ),
        "s3_path": s3_path(about, published.folder(receipt)),
        "digest": receipt.digest or lost,
        "content": receipt.content or lost,
        "cost_usd": cost(made) if made else lost,
        "versions": [one.version for one in known.values() if one.model == receipt.model],
    }
    if made and isinstance(fields.get("training_job"), Unknown):
        fields["training_job"] = Unknown(f"trained by executor {made.executor!r}; its record names no SageMaker job")
    if receipt.type == "student":
        fields["compression_ratio"] = _compression(receipt, known, fields["compression_ratio"])
        fields["training_approach"] = published.approach(receipt)
    fields |= {"metrics": _metrics(receipt, known), "performance": _performance(receipt)}
    form = forms.OF_TYPE.get(receipt.type, forms.Model)
    return fill(form, {name: lost if _is_untold(value) else value for name, value in fields.items()})


def _network(records: Mapping[str, Record], given: Mapping[str, Any]) -> Object:
    """What is told of a network of any type."""
    made, bench = records.get("making"), records.get("benchmark")
    return {
        "architecture": first(fact(made, "architecture"), stated(given, "architecture")),
        "parameters": first(
            fact(made, "parameters", units.count), stated(given, "parameters", kind=(int, str), form=units.count)
        ),
        "parameters_count": _parameters(records, given),
        "embedding_dim": first(
            fact(made, "embedding_dim"),
            fact(bench, "embedding_dim"),
            stated(given, "embedding_dim", kind=int, least=1),
        ),
        "input_size": first(
            fact(made, "input_size", units.square),
            fact(bench, "input_size", units.square),
            stated(given, "input_size", kind=(int, str), form=units.square),
        ),
        "framework": first(fact(made, "framework"), stated(given, "framework")),
    }


def _parameters(records: Mapping[str, Record], given: Mapping[str, Any]) -> int | Unknown:
    known: int | Unknown = first(
        fact(records.get("making"), "parameters"), stated(given, "parameters_count", "parameters", kind=int)
    )
    return known


def _of_type(type_: str, records: Mapping[str, Record], given: Mapping[str, Any]) -> Object:
    """What is told of a model of a certain type alone."""
    made, bench = records.get("making"), records.get("benchmark")
    trained = {
        "training_job": first(fact(made, "training_job"), stated(given, "training_job")),
        "training_date": first(day_of(made, units.day), stated(given, "training_date", "finished", form=units.day)),
    }
    if type_ == "teacher":
        return trained
    if type_ == "student":
        kinds = (int, float, str)
        ratio = stated(given, "compression_ratio", kind=kinds, form=units.ratio)
        return {**trained, "compression_ratio": first(fact(made, "compression_ratio", units.ratio), ratio)}
    if type_ != "optimized":
        return {}
    size = first(measured(made, "size_mb"), measured(bench, "size_mb"), absent="")
    return {
        "format": first(fact(made, "format"), stated(given, "format")),
        "quantization": first(fact(made, "quantization"), stated(given, "quantization")),
        "size": first(
            size if isinstance(size, Unknown) else units.megabytes(size),
            stated(given, "size", "size_mb", kind=(int, float, str), form=units.megabytes),
        ),
        "target_hardware": first(
            fact(made, "target_hardware"), fact(bench, "device"), stated(given, "target_hardware", "device")
        ),
        "compilation_date": first(
            day_of(made, units.day), stated(given, "compilation_date", "finished", form=units.day)
        ),
    }


def _is_untold(value: Any) -> bool:
    """Whether a field is unknown for no better reason than that no record has it."""
    return isinstance(value, Unknown) and value.reason == UNTOLD


def s3_path(about: About, folder: str | Unknown) -> str | Unknown:
    """Where a folder of the tree lies on S3."""
    if not about.uri.startswith("s3://"):
        return Unknown("the tree lies in a local folder")
    return folder if isinstance(folder, Unknown) else f"{about.uri.rstrip('/')}/{folder}"


def _compression(receipt: Receipt, known: Versions, recorded: str | Unknown) -> str | Unknown:
    """The teacher's parameters over the student's; as the making counted them where the teacher's are not known."""
    teacher = published.teacher(receipt, known)
    if isinstance(teacher, Unknown):
        return recorded if isinstance(recorded, str) else teacher
    counts = []
    for version in (teacher, receipt):
        found = _parameters(records_of(version), version.facts)
        if isinstance(found, Unknown) or not found:
            reason = found.reason if isinstance(found, Unknown) else "it has no parameters"
            return recorded if isinstance(recorded, str) else Unknown(f"{version_name(version)}: {reason}")
        counts.append(found)
    return units.ratio(counts[0] / counts[1])


def _metrics(receipt: Receipt, known: Versions) -> forms.Metrics:
    """The figures of a version, and of each that is known how it was measured."""
    records, given = records_of(receipt), receipt.facts
    judged, made = accuracy_record(records), records.get("making")
    fields: Object = {
        "top1_accuracy": _share(judged, given, *TOP1),
        "top5_accuracy": _share(judged, given, "top5_accuracy"),
    }
    protocol = dict.fromkeys(fields, _protocol(receipt, judged))
    if receipt.type == "teacher":
        fields["embedding_quality"] = EMBEDDING_QUALITY
    if receipt.type == "student":
        fields["accuracy_gap"], protocol["accuracy_gap"] = _gap(receipt, published.teacher(receipt, known))
    for name, value in _of_making(receipt.type, made, given).items():
        fields[name], protocol[name] = value, _protocol(receipt, made)
    if not records:
        # Of what has no record at all, every figure is unknown for the same reason.
        lost = Unknown(published.untold(receipt))
        fields = {name: lost if value == Unknown(NOT_MEASURED) else value for name, value in fields.items()}
    said = {name: text for name, text in protocol.items() if not isinstance(fields[name], Unknown)}
    return fill(METRICS.get(receipt.type, forms.OtherMetrics), {**fields, "protocol": said})


def _share(record: Record | None, given: Mapping[str, Any], *names: str) -> float | Unknown:
    share: float | Unknown = first(
        measured(record, *names, most=1), stated(given, *names, kind=NUMBER, most=1), absent=NOT_MEASURED
    )
    return share


def _of_making(type_: str, made: Record | None, given: Mapping[str, Any]) -> Object:
    """Further figures of a model of a certain type that its making measures."""
    figures = {
        "student": {"cosine_similarity_to_teacher": ("cosine_similarity", 1.001)},
        "optimized": {
            "cosine_similarity_to_parent": ("cosine_to_parent", 1.001),
            "accuracy_drop": ("accuracy_drop", 1.0),
        },
    }
    return {
        name: first(
            measured(made, figure, least=-most, most=most),
            stated(given, name, figure, kind=NUMBER, least=-most, most=most),
            absent=NOT_MEASURED,
        )
        for name, (figure, most) in figures.get(type_, {}).items()
    }


def accuracy_record(records: Mapping[str, Record]) -> Record | None:
    """The record whose accuracies count: the benchmark's (test split), else the making's (val split)."""
    names = {*TOP1, "top5_accuracy"}
    judged = (records[stage] for stage in (benchmarks.BENCHMARK, "making") if stage in records)
    return next((record for record in judged if names & set(record.metrics)), None)


def _protocol(receipt: Receipt, record: Record | None) -> str:
    """Which task measured, and how."""
    if record is None:
        return published.untold(receipt)
    return f"{record.stage}: {facts_of(record).protocol or 'the record tells no protocol'}"


def _gap(receipt: Receipt, teacher: Receipt | Unknown) -> tuple[float | Unknown, str]:
    """The accuracy that the teacher has more, and how it was measured; by the making where benchmarks do not tell."""
    mine = benchmarks.of(receipt)
    gap = teacher if isinstance(teacher, Unknown) else benchmarks.accuracy_gap(mine, benchmarks.of(teacher))
    if isinstance(mine, Record) and not isinstance(gap, Unknown):
        return gap, _protocol(receipt, mine)
    recorded = first(
        measured(making(receipt), "distillation_gap", least=-1, most=1),
        stated(receipt.facts, "accuracy_gap", "distillation_gap", kind=NUMBER, least=-1, most=1),
        absent=NOT_MEASURED,
    )
    return gap if isinstance(recorded, Unknown) else recorded, _protocol(receipt, making(receipt))


def _performance(receipt: Receipt) -> forms.Performance:
    records, given = records_of(receipt), receipt.facts
    bench, made = records.get(benchmarks.BENCHMARK), records.get("making")
    latency, frames, power = (
        "latency_p50_ms",
        ("throughput_fps", "throughput_fps_batch1"),
        ("power_w", "power_consumption_w"),
    )
    fields: Object = {
        "inference_latency_ms": first(
            measured(bench, latency),
            measured(made, latency),
            stated(given, "inference_latency_ms", latency, kind=NUMBER),
        ),
        "throughput_fps": first(measured(bench, *frames), stated(given, *frames, kind=NUMBER)),
        "power_consumption_w": first(
            measured(bench, *power), stated(given, *reversed(power), kind=NUMBER), absent="not measured"
        ),
        "device": first(fact(bench, "device"), stated(given, "device")),
    }
    benchmark = benchmarks.of(receipt)
    if isinstance(benchmark, Unknown):
        fields = {name: benchmark if isinstance(value, Unknown) else value for name, value in fields.items()}
    return fill(forms.Performance, fields)
