"""Sources of a document's fields: facts and metrics of records, or values that a migration stated without a record.

A value of another type or outside its bounds makes the field unknown, so that the document stays valid.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from pokeflow.types import Record
from pokeflow_metadata.facts import NOT_RECORDED, facts_of
from pokeflow_metadata.values import Unknown

NUMBER = (int, float)
NOTHING = Unknown("")
"""Unknown value without a reason."""


def first(*candidates: Any, absent: str = NOT_RECORDED) -> Any:
    """Return the first known value; else Unknown with the first reason that is not empty, or with ``absent``."""
    for value in candidates:
        if not isinstance(value, Unknown):
            return value
    return Unknown(next((value.reason for value in candidates if value.reason), absent))


def fact(record: Record | None, name: str, form: Callable[[Any], Any] | None = None) -> Any:
    """Return a fact of a record by its name in ``ModelFacts``, formatted by ``form``, or Unknown with the reason."""
    if record is None:
        return NOTHING
    facts = facts_of(record)
    value = getattr(facts, name)
    if value is None:
        return Unknown(facts.reasons.get(name, ""))
    return _formatted(f"facts.{name} of {record.task}", value, form)


def first_metric(record: Record | None, *names: str, least: float = 0, most: float = inf) -> Any:
    """Return the first known metric of these names from a record, or Unknown with the reason.

    Args:
        record: The record, or None.
        *names: Names of metrics.
        least: Lowest valid value.
        most: Highest valid value.

    """
    return first(*(_metric_value(record, name, least, most) for name in names if record), absent="")


def _metric_value(record: Record, name: str, least: float, most: float) -> Any:
    if name not in record.metrics:
        return NOTHING
    value = record.metrics[name]
    if value is None:
        return Unknown(record.reasons.get(name, ""))
    return value if least <= value <= most else _cannot_be(f"metrics.{name} of {record.task}", value)


def first_stated(
    facts: Mapping[str, Any],
    *names: str,
    kind: type | tuple[type, ...] = str,
    form: Callable[[Any], Any] | None = None,
    least: float = 0,
    most: float = inf,
) -> Any:
    """Return the first known value of these names that was stated without a record, or Unknown with the reason.

    Args:
        facts: The stated values.
        *names: Names of values.
        kind: Valid types; bool is never valid.
        form: Formats the value; a ValueError makes it unknown.
        least: Lowest valid number.
        most: Highest valid number.

    """
    return first(*(_stated_value(facts, name, kind, form, (least, most)) for name in names), absent="")


def _stated_value(
    facts: Mapping[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    form: Callable[[Any], Any] | None,
    bounds: tuple[float, float],
) -> Any:
    value = facts.get(name)
    if value is None:
        return NOTHING
    label = f"{name}, as stated at its migration,"
    if not isinstance(value, kind) or isinstance(value, bool):
        return _cannot_be(label, value)
    if isinstance(value, NUMBER) and not bounds[0] <= value <= bounds[1]:
        return _cannot_be(label, value)
    return _formatted(label, value, form)


def day_of(record: Record | None, form: Callable[[str], str]) -> Any:
    """Return the day on which a task finished, formatted by ``form``; Unknown without a record."""
    return _formatted(f"finished of {record.task}", record.finished, form) if record else NOTHING


def _formatted(label: str, value: Any, form: Callable[[Any], Any] | None) -> Any:
    try:
        return form(value) if form else value
    except ValueError:
        return _cannot_be(label, value)


def _cannot_be(label: str, value: Any) -> Unknown:
    return Unknown(f"{label} is {value!r}, which is not a possible value")
