"""Where a document's field comes from: a record's facts and figures, or what a migration stated without a record.

Whatever else a plugin puts there makes the field unknown, and the document stays sound.
"""

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from pokeflow.types import Record
from pokeflow_metadata.facts import UNTOLD, facts_of
from pokeflow_metadata.values import Unknown

NUMBER = (int, float)
NOTHING = Unknown("")
"""What tells nothing at all, not even why."""


def first(*found: Any, absent: str = UNTOLD) -> Any:
    """The first value that is known; else ``Unknown`` with the first reason that was given, or with ``absent``."""
    for value in found:
        if not isinstance(value, Unknown):
            return value
    return Unknown(next((value.reason for value in found if value.reason), absent))


def fact(record: Record | None, name: str, form: Callable[[Any], Any] | None = None) -> Any:
    """A fact of a record by its name in ``ModelFacts``, as ``form`` shows it."""
    if record is None:
        return NOTHING
    facts = facts_of(record)
    value = getattr(facts, name)
    if value is None:
        return Unknown(facts.reasons.get(name, ""))
    return _shown(f"facts.{name} of {record.task}", value, form)


def measured(record: Record | None, *names: str, least: float = 0, most: float = inf) -> Any:
    """The first of these figures that a record has, if it lies within these bounds."""
    return first(*(_measured(record, name, least, most) for name in names if record), absent="")


def _measured(record: Record, name: str, least: float, most: float) -> Any:
    if name not in record.metrics:
        return NOTHING
    value = record.metrics[name]
    if value is None:
        return Unknown(record.reasons.get(name, ""))
    return value if least <= value <= most else _cannot_be(f"metrics.{name} of {record.task}", value)


def stated(
    given: Mapping[str, Any],
    *names: str,
    kind: type | tuple[type, ...] = str,
    form: Callable[[Any], Any] | None = None,
    least: float = 0,
    most: float = inf,
) -> Any:
    """The first of these names that was told without a record, if it is of this kind and within these bounds."""
    return first(*(_stated(given, name, kind, form, (least, most)) for name in names), absent="")


def _stated(
    given: Mapping[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    form: Callable[[Any], Any] | None,
    bounds: tuple[float, float],
) -> Any:
    value = given.get(name)
    if value is None:
        return NOTHING
    where = f"{name}, as it was told when it was migrated,"
    if not isinstance(value, kind) or isinstance(value, bool):
        return _cannot_be(where, value)
    if isinstance(value, NUMBER) and not bounds[0] <= value <= bounds[1]:
        return _cannot_be(where, value)
    return _shown(where, value, form)


def day_of(record: Record | None, form: Callable[[str], str]) -> Any:
    """The day on which a record was finished."""
    return _shown(f"finished of {record.task}", record.finished, form) if record else NOTHING


def _shown(where: str, value: Any, form: Callable[[Any], Any] | None) -> Any:
    try:
        return form(value) if form else value
    except ValueError:
        return _cannot_be(where, value)


def _cannot_be(where: str, value: Any) -> Unknown:
    return Unknown(f"{where} is {value!r}, which this cannot be")
