"""Typed facts of records that several plugins read; None is unknown, with a reason."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from pokeflow.types import Record

NOT_RECORDED = "not recorded"
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]


PATHS = {"calibration_samples": ("calibration", "samples"), "calibration_bytes": ("calibration", "size_bytes")}
"""Paths of facts that are nested in another fact."""
OF_MACHINE = ("training_job", "training_job_arn", "instance_type", "image")
"""Facts that may also be in the record's ``environment``, which describes the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts in a record, other than metrics, about a model, its measurement, its data, or a job.

    ``reasons`` says why a field is None, if the record says so or has a value that is not valid for the field. A field
    that is None without a reason is not recorded.

    Model: ``architecture``, ``initial_weights`` (the source of the weights before the training, with their licence),
    ``parameters``, counted as ``parameters_counted`` says, ``embedding_dim``, ``input_size`` (pixels of a
    side, or ``224x224``), ``preprocessing`` (its hash), ``compression_ratio``. Compiled model: ``format``,
    ``quantization``, ``calibration`` in words, ``calibration_images``, ``target_hardware``.
    Measurement: ``protocol``, ``shared_artwork`` (number of queried items that look like a training item),
    ``device``, ``threads``, ``framework``, ``runs`` and ``timing``.
    Data: ``data_kind`` (``synthetic``, ``photos``), ``query_kind`` (``simulated``, ``references``, ``photos``),
    ``source``, ``validation``, ``baseline``, and ``calibration_samples`` and ``calibration_bytes``, the number and
    size of the pictures reserved for calibration.
    Job or registration: ``training_job``, ``training_job_arn``, ``instance_type``, ``image``,
    ``model_package_arn``, ``model_registry_arn``.
    """

    architecture: str | None = None
    initial_weights: str | None = None
    parameters: Count | None = None
    parameters_counted: str | None = None
    embedding_dim: Positive | None = None
    input_size: Positive | str | None = None
    framework: str | None = None
    preprocessing: str | None = None
    compression_ratio: Annotated[float, Meta(ge=0)] | None = None
    format: str | None = None
    quantization: str | None = None
    calibration: str | None = None
    calibration_images: Count | None = None
    target_hardware: str | None = None
    protocol: str | None = None
    shared_artwork: Count | None = None
    device: str | None = None
    threads: Positive | None = None
    runs: int | dict[str, int] | None = None
    timing: str | None = None
    data_kind: str | None = None
    query_kind: str | None = None
    source: dict[str, Any] | None = None
    validation: str | None = None
    baseline: str | None = None
    calibration_samples: Count | None = None
    calibration_bytes: Count | None = None
    training_job: str | None = None
    training_job_arn: str | None = None
    instance_type: str | None = None
    image: str | None = None
    model_package_arn: str | None = None
    model_registry_arn: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    def reason_for(self, name: str) -> str:
        """Return the reason why a field is None."""
        return self.reasons.get(name, NOT_RECORDED)


def facts_of(record: Record) -> ModelFacts:
    """Read a record's facts; a value that is not valid for its field is unknown, with the reason."""
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    places = (("facts", record.facts), ("environment", record.environment))
    for name, kind in _kinds().items():
        keys = PATHS.get(name, (name,))
        for part, holder in places if name in OF_MACHINE else places[:1]:
            value = _inside(holder, keys)
            if value is None:
                if keys[-1] in record.reasons:
                    reasons.setdefault(name, record.reasons[keys[-1]])
                continue
            try:
                values.setdefault(name, msgspec.convert(value, kind))
            except msgspec.ValidationError:
                reason = f"{'.'.join((part, *keys))} of {record.task} is {value!r}, which is not a possible value"
                reasons.setdefault(name, reason)
    return ModelFacts(**values, reasons={name: why for name, why in reasons.items() if name not in values})


@cache
def _kinds() -> dict[str, Any]:
    hints = get_type_hints(ModelFacts, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "reasons"}


def _inside(holder: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        holder = holder.get(key) if isinstance(holder, Mapping) else None
    return holder
