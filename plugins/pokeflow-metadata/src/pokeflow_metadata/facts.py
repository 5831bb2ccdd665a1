"""The facts of records that several plugins read, as one typed structure: what is None is unknown, with a reason."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from pokeflow.types import Record

UNTOLD = "no record tells it"
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]


PATHS = {"calibration_samples": ("calibration", "samples"), "calibration_bytes": ("calibration", "size_bytes")}
"""Where a fact lies that is below another one."""
OF_MACHINE = ("training_job", "training_job_arn", "instance_type", "image")
"""What the record of a task's machine, its ``environment``, may tell as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a record tells of a model, of a measurement of it, or of its data beside figures.

    ``reasons`` says why a field is None where a record says it, or holds what the field cannot be; of any other None
    no record tells.

    Of a model: ``parameters`` counted as ``parameters_counted`` says, ``embedding_dim``, ``input_size`` (pixels of a
    side, or ``224x224``), ``preprocessing`` (its hash), ``compression_ratio``; compiled: ``format``, ``quantization``,
    ``calibration`` in words and ``calibration_images``, ``target_hardware``.
    Of a measurement: ``protocol`` and its ``shared_artwork`` (how many of the items asked for look like one that the
    model was trained on), ``device``, ``threads``, ``framework``, ``runs`` and ``timing``.
    Of data: ``data_kind`` and ``query_kind`` (``synthetic``, ``photos``; ``simulated``, ``references``, ``photos``),
    ``source``, ``validation``, ``baseline``, and the ``calibration_samples`` and ``calibration_bytes`` set aside.
    Of a job or registration: ``training_job``, ``training_job_arn``, ``instance_type``, ``image``,
    ``model_package_arn``, ``model_registry_arn``.
    """

    architecture: str | None = None
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

    def why_not(self, name: str) -> str:
        """Return the reason why a field is None."""
        return self.reasons.get(name, UNTOLD)


def facts_of(record: Record) -> ModelFacts:
    """Read a record's facts; what a plugin left in another form than a field's is unknown."""
    known: dict[str, Any] = {}
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
                known.setdefault(name, msgspec.convert(value, kind))
            except msgspec.ValidationError:
                told = f"{'.'.join((part, *keys))} of {record.task} is {value!r}, which this cannot be"
                reasons.setdefault(name, told)
    return ModelFacts(**known, reasons={name: why for name, why in reasons.items() if name not in known})


@cache
def _kinds() -> dict[str, Any]:
    hints = get_type_hints(ModelFacts, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "reasons"}


def _inside(holder: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        holder = holder.get(key) if isinstance(holder, Mapping) else None
    return holder
