"""A model's part of the manifest: which field of which record tells what, as tables."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pokeflow.project import Receipt, Versions, making, version_name
from pokeflow.project import records as records_of
from pokeflow.types import About, Record
from pokeflow_metadata import benchmarks, published, units
from pokeflow_metadata.fields import NUMBER, Field, look, table
from pokeflow_metadata.forms import models as forms
from pokeflow_metadata.values import Unknown, cost, fill

PARAMETERS = "making.facts.parameters"

COMMON = {
    "architecture": Field(("making.facts.architecture",)),
    "parameters": Field((PARAMETERS,), (int, str), units.count),
    "parameters_count": Field((PARAMETERS,), int),
    "embedding_dim": Field(("making.facts.embedding_dim", "benchmark.facts.embedding_dim"), int, least=1),
    "input_size": Field(("making.facts.input_size", "benchmark.facts.input_size"), (int, str), units.square),
    "framework": Field(("making.facts.framework",)),
}
TRAINED = {
    "training_job": Field(("making.facts.training_job", "making.environment.training_job")),
    "training_date": Field(("making.finished",), form=units.day),
}
RATIO = {"compression_ratio": Field(("making.facts.compression_ratio",), (int, float, str), units.ratio)}
OPTIMIZED = {
    "format": Field(("making.facts.format",)),
    "quantization": Field(("making.facts.quantization",)),
    "size": Field(("making.metrics.size_mb", "benchmark.metrics.size_mb"), (int, float, str), units.megabytes),
    "target_hardware": Field(("making.facts.target_hardware", "benchmark.facts.device")),
    "compilation_date": Field(("making.finished",), form=units.day),
}
PUBLISHED = {
    "size_mb": Field(("benchmark.metrics.size_mb", "making.metrics.size_mb"), NUMBER),
    "model_registry_arn": Field(
        ("register.facts.model_package_arn", "register.facts.model_registry_arn"),
        absent="no registration with SageMaker is recorded",
    ),
}
OF_TYPE: Mapping[str, Mapping[str, Field]] = {"teacher": TRAINED, "student": TRAINED | RATIO, "optimized": OPTIMIZED}
PERFORMANCE = {
    "inference_latency_ms": Field(("benchmark.metrics.latency_p50_ms", "making.metrics.latency_p50_ms"), NUMBER),
    "throughput_fps": Field(("benchmark.metrics.throughput_fps", "benchmark.metrics.throughput_fps_batch1"), NUMBER),
    "power_consumption_w": Field(
        ("benchmark.metrics.power_w", "benchmark.metrics.power_consumption_w"), NUMBER, absent="not measured"
    ),
    "device": Field(("benchmark.facts.device",)),
}
NOT_MEASURED = "what was measured of it holds no such figure"
ACCURACIES = {
    "top1_accuracy": Field(
        ("measured.metrics.top1_accuracy", "measured.metrics.task_accuracy"), NUMBER, absent=NOT_MEASURED, most=1
    ),
    "top5_accuracy": Field(("measured.metrics.top5_accuracy",), NUMBER, absent=NOT_MEASURED, most=1),
}
"""The accuracies of every type: shares, of the one record that ``measured`` names."""
COSINE = partial(Field, kind=NUMBER, absent=NOT_MEASURED, least=-1.001, most=1.001)
GAP = Field(("making.metrics.distillation_gap",), NUMBER, absent=NOT_MEASURED, least=-1, most=1)
OF_MAKING: Mapping[str, Mapping[str, Field]] = {
    "student": {"cosine_similarity_to_teacher": COSINE(("making.metrics.cosine_similarity",))},
    "optimized": {
        "cosine_similarity_to_parent": COSINE(("making.metrics.cosine_to_parent",)),
        "accuracy_drop": Field(("making.metrics.accuracy_drop",), NUMBER, absent=NOT_MEASURED, least=-1, most=1),
    },
}
"""Further figures of each type that its making measures."""
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
    first = Unknown(published.NO_PARENT) if made else lost
    fields: Object = {
        "version": receipt.version,
        "type": receipt.type or lost,
        "parent_model": receipt.parents[0] if receipt.parents else first,
        **table({**COMMON, **OF_TYPE.get(receipt.type, {}), **PUBLISHED}, records, given),
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


def _is_untold(value: Any) -> bool:
    """Whether a field is unknown for no better reason than that no record has it."""
    return isinstance(value, Unknown) and value.reason == Field(()).absent


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
        found = look(COMMON["parameters_count"], records_of(version), version.facts, "parameters_count")
        if isinstance(found, Unknown) or not found:
            reason = found.reason if isinstance(found, Unknown) else "it has no parameters"
            return recorded if isinstance(recorded, str) else Unknown(f"{version_name(version)}: {reason}")
        counts.append(found)
    return units.ratio(counts[0] / counts[1])


def _metrics(receipt: Receipt, known: Versions) -> forms.Metrics:
    """The figures of a version, and of each that is known how it was measured."""
    records, given = records_of(receipt), receipt.facts
    measured, made = accuracy_record(records), records.get("making")
    sources = {"measured": measured} if measured else {}
    fields: Object = {name: look(field, sources, given, name) for name, field in ACCURACIES.items()}
    protocol = dict.fromkeys(fields, _protocol(receipt, measured))
    if receipt.type == "teacher":
        fields["embedding_quality"] = EMBEDDING_QUALITY
    if receipt.type == "student":
        fields["accuracy_gap"], protocol["accuracy_gap"] = _gap(receipt, published.teacher(receipt, known))
    for name, field in OF_MAKING.get(receipt.type, {}).items():
        fields[name], protocol[name] = look(field, records, given, name), _protocol(receipt, made)
    if not records:
        # Of what has no record at all, every figure is unknown for the same reason.
        lost = Unknown(published.untold(receipt))
        fields = {name: lost if value == Unknown(NOT_MEASURED) else value for name, value in fields.items()}
    said = {name: text for name, text in protocol.items() if not isinstance(fields[name], Unknown)}
    return fill(METRICS.get(receipt.type, forms.OtherMetrics), {**fields, "protocol": said})


def accuracy_record(records: Mapping[str, Record]) -> Record | None:
    """The record whose accuracies count: the benchmark's (test split), else the making's (val split)."""
    names = {source.rpartition(".")[2] for field in ACCURACIES.values() for source in field.sources}
    measured = (records[stage] for stage in (benchmarks.BENCHMARK, "making") if stage in records)
    return next((record for record in measured if names & set(record.metrics)), None)


def _protocol(receipt: Receipt, record: Record | None) -> str:
    """Which task measured, and how."""
    if record is None:
        return published.untold(receipt)
    said = record.facts.get("protocol")
    return f"{record.stage}: {said if isinstance(said, str) and said else 'the record tells no protocol'}"


def _gap(receipt: Receipt, teacher: Receipt | Unknown) -> tuple[float | Unknown, str]:
    """The accuracy that the teacher has more, and how it was measured; by the making where benchmarks do not tell."""
    mine = benchmarks.of(receipt)
    gap = teacher if isinstance(teacher, Unknown) else benchmarks.accuracy_gap(mine, benchmarks.of(teacher))
    if isinstance(mine, Record) and not isinstance(gap, Unknown):
        return gap, _protocol(receipt, mine)
    recorded = look(GAP, records_of(receipt), receipt.facts, "accuracy_gap")
    return gap if isinstance(recorded, Unknown) else recorded, _protocol(receipt, making(receipt))


def _performance(receipt: Receipt) -> forms.Performance:
    fields = table(PERFORMANCE, records_of(receipt), receipt.facts)
    benchmark = benchmarks.of(receipt)
    if isinstance(benchmark, Unknown):
        fields = {name: benchmark if isinstance(value, Unknown) else value for name, value in fields.items()}
    return fill(forms.Performance, fields)
