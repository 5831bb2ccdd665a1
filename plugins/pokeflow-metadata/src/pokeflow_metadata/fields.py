"""Where a document's field comes from: tables of places in records, and the look-up."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pokeflow.types import Record
from pokeflow_metadata.values import Unknown

NUMBER = (int, float)
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Field:
    """A field: the places that may tell it, the first that does wins: ``<stage>.<part of the record>[.<key>]``.

    ``kind`` is what the value must be, a number within ``least`` and ``most``; ``form`` makes of it what the document
    shows, ValueError where it cannot. ``absent`` is the reason where no place has it. Whatever else a plugin puts
    there makes the field unknown, and the document stays sound.
    """

    sources: tuple[str, ...]
    kind: type | tuple[type, ...] = str
    form: Callable[[Any], Any] = lambda value: value
    absent: str = "no record tells it"
    least: float = 0
    most: float = float("inf")


def look(field: Field, records: Mapping[str, Record], given: Mapping[str, Any] | None = None, name: str = "") -> Any:
    """The field's value or ``Unknown``.

    ``given`` is what was told without a record, by the field's ``name`` or by what records call it.
    """
    reason = None
    for where, value, why in (*_recorded(field, records), *_given(field, given or {}, name)):
        if value is None:
            reason = reason or why
        elif (shown := _fit(field, value)) is not _NOTHING:
            return shown
        else:
            reason = reason or f"{where} is {value!r}, which this cannot be"
    return Unknown(reason or field.absent)


def table(
    fields: Mapping[str, Field], records: Mapping[str, Record], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values of many fields, by name."""
    return {name: look(field, records, given, name) for name, field in fields.items()}


Found = Iterator[tuple[str, Any, str | None]]


def _recorded(field: Field, records: Mapping[str, Record]) -> Found:
    """Each place that is there: what it is called, what it holds, and why it holds nothing."""
    for source in field.sources:
        stage, part, *keys = source.split(".")
        if stage in records:
            record = records[stage]
            found = _inside(getattr(record, part), keys)
            if found is not _NOTHING:
                yield (
                    f"{'.'.join((part, *keys))} of {record.task}",
                    found,
                    record.reasons.get(keys[-1]) if keys else None,
                )


def _given(field: Field, given: Mapping[str, Any], name: str) -> Found:
    for key in dict.fromkeys((name, *(source.rpartition(".")[2] for source in field.sources))):
        if key in given:
            yield f"{key}, as it was told when it was migrated,", given[key], None


def _fit(field: Field, value: Any) -> Any:
    """What the document shows, or ``_NOTHING`` where the value cannot be shown."""
    if not isinstance(value, field.kind) or isinstance(value, bool):
        return _NOTHING
    if isinstance(value, NUMBER) and not field.least <= value <= field.most:
        return _NOTHING
    try:
        return field.form(value)
    except ValueError:
        return _NOTHING


def _inside(holder: Any, keys: Iterable[str]) -> Any:
    """A value below keys in keys, or ``_NOTHING``."""
    for part in keys:
        if not isinstance(holder, Mapping) or part not in holder:
            return _NOTHING
        holder = holder[part]
    return holder
