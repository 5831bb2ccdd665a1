"""Objects of a document: an unknown value is null, and its reason stands beside it under the same name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pokeflow.redaction import redacted
from pokeflow.types import Record

SCHEMA_VERSION = 1
"""Of every document; raised when a reader of the old form would misread the new one."""
Form = TypeVar("Form")
NO_REASON = "the record gives no reason"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that nothing recorded tells, and why."""

    reason: str


def told(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a document: each ``Unknown`` becomes null with its reason in ``reasons``; passwords are left out."""
    plain = {name: None if isinstance(value, Unknown) else redacted(value) for name, value in fields.items()}
    return {**plain, "reasons": {name: value.reason for name, value in fields.items() if isinstance(value, Unknown)}}


def fill(form: type[Form], fields: Mapping[str, Any]) -> Form:
    """Make an object of a document from its fields; passwords are left out, and what is unknown has its reason."""
    return form(**told(fields))


def plain(document: Any) -> dict[str, Any]:
    """A document as plain data, its fields in the order of its form."""
    data: dict[str, Any] = msgspec.to_builtins(document)
    return data


def metrics(record: Record) -> dict[str, Any]:
    """A record's figures, with the reasons of those that are unknown."""
    return told({name: figure(record, name) for name in record.metrics})


def figure(record: Record, name: str) -> float | Unknown:
    """One figure of a record, or why it is unknown."""
    if name not in record.metrics:
        return Unknown(f"{record.task} does not measure it")
    value = record.metrics[name]
    return Unknown(record.reasons.get(name) or NO_REASON) if value is None else value


def cost(record: Record) -> float | Unknown:
    """What a task cost in US dollars, or why nobody knows."""
    if record.cost_usd is None:
        return Unknown(record.reasons.get("cost_usd") or NO_REASON)
    return record.cost_usd
