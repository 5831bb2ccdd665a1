"""Objects of a document: an unknown value is null, and ``reasons`` has its reason under the same name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pokeflow.redaction import redact
from pokeflow.types import Record

SCHEMA_VERSION = 1
"""Version of every document's schema; increased when readers of the old form would misread the new one."""
Form = TypeVar("Form")
NO_REASON = "no reason recorded"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not recorded, with the reason; ``reason`` is empty if that is not known either."""

    reason: str


def with_reasons(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Replace each ``Unknown`` by null, collect the reasons in ``reasons``, and redact passwords."""
    plain = {name: None if isinstance(value, Unknown) else redact(value) for name, value in fields.items()}
    return {**plain, "reasons": {name: value.reason for name, value in fields.items() if isinstance(value, Unknown)}}


def fill(form: type[Form], fields: Mapping[str, Any]) -> Form:
    """Create an object of a document from its fields, with passwords redacted and reasons for unknown values."""
    return form(**with_reasons(fields))


def plain(document: Any) -> dict[str, Any]:
    """Convert a document to plain data, with its fields in the order of its form."""
    data: dict[str, Any] = msgspec.to_builtins(document)
    return data


def metrics(record: Record) -> dict[str, Any]:
    """Return a record's metrics, with the reasons of those that are unknown."""
    return with_reasons({name: figure(record, name) for name in record.metrics})


def figure(record: Record, name: str) -> float | Unknown:
    """Return one metric of a record, or Unknown with the reason."""
    if name not in record.metrics:
        return Unknown(f"{record.task} does not measure it")
    value = record.metrics[name]
    return Unknown(record.reasons.get(name) or NO_REASON) if value is None else value


def cost(record: Record) -> float | Unknown:
    """Return the cost of a task in US dollars, or Unknown with the reason."""
    if record.cost_usd is None:
        return Unknown(record.reasons.get("cost_usd") or NO_REASON)
    return record.cost_usd
