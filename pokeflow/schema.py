"""Typed configuration: parsing of plain data into dataclasses with all faults collected, and JSON Schema."""

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from pokeflow.errors import Fault, unknown

T = TypeVar("T")
MISSING = "???"
"""Marker of OmegaConf for a mandatory value that is missing."""


def parse(kind: type[T], data: Any, path: str, faults: list[Fault]) -> T | None:
    """Convert plain data to a ``kind``, and append a Fault to ``faults`` for every error.

    Types are strict: a string never becomes a number; only an int is accepted for a float. With faults the result is
    partial, so that further faults can be collected: an invalid value is replaced by its default, or None.
    """
    return typing.cast("T | None", _parse(kind, data, path, faults))


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """Return the resolved types of a dataclass's fields, by name."""
    return typing.get_type_hints(kind)


def _parse(kind: Any, data: Any, path: str, faults: list[Fault]) -> Any:  # noqa: PLR0911 - one return a kind of type
    if isinstance(data, str) and data == MISSING:
        faults.append(Fault(path, f"no value. Set it in YAML or with {path}=…"))
        return data if kind is Any else None  # the value of an Any is parsed again later, for the same fault
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _parse_union(args, data, path, faults)
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(typing.cast("type", kind), data, path, faults)
    if origin is dict or origin is Mapping:
        if not isinstance(data, Mapping):
            return _wrong(path, "a mapping", data, faults)
        # A YAML key may be a number or a date; all later code expects text.
        return {str(key): _parse(args[1], value, _join(path, key), faults) for key, value in data.items()}
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        if isinstance(data, str) or not isinstance(data, Sequence):
            return _wrong(path, "a list", data, faults)
        return tuple(_parse(args[0], value, f"{path}[{i}]", faults) for i, value in enumerate(data))
    if origin is Literal and data not in args:
        faults.append(unknown(path, "choice", data, map(str, args)))
        return None
    return _parse_leaf(kind, data, path, faults)


def _parse_union(kinds: tuple[Any, ...], data: Any, path: str, faults: list[Fault]) -> Any:
    """Parse a union type: a mapping as the dataclass, any other value as one of the other types."""
    if data is None and type(None) in kinds:
        return None
    options = [kind for kind in kinds if kind is not type(None)]
    fitting = [kind for kind in options if dataclasses.is_dataclass(kind) == isinstance(data, Mapping)] or options
    if len(fitting) == 1:
        return _parse(fitting[0], data, path, faults)
    return _parse_leaf(functools.reduce(operator.or_, fitting), data, path, faults)


def _parse_dataclass(kind: type, data: Any, path: str, faults: list[Fault]) -> Any:
    if not isinstance(data, Mapping):
        return _wrong(path, "a mapping", data, faults)
    types_of = hints(kind)
    faults.extend(_unknown_key(kind, key, path) for key in data if key not in types_of)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        field_path, before = _join(path, field.name), len(faults)
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name in data:
            value = _parse(types_of[field.name], data[field.name], field_path, faults)
            if value is not None or required or len(faults) == before:
                values[field.name] = value
        elif required:
            faults.append(Fault(field_path, f"no value. Set it in YAML or with {field_path}=…"))
            values[field.name] = None
    return kind(**values)


def _unknown_key(kind: type, key: Any, path: str) -> Fault:
    """Return the Fault for an unknown key; for the former name of a field, it says the present name.

    The metadata of a field holds its former names: ``{"formerly": {key: its spelling in YAML}}``.
    """
    for field in dataclasses.fields(kind):
        former = field.metadata.get("formerly", {})
        if key in former:
            return Fault(_join(path, former[key]), f"the key is now called {field.name!r}.")
    return unknown(_join(path, key), "key", key, hints(kind))


def _parse_leaf(kind: Any, data: Any, path: str, faults: list[Fault]) -> Any:
    if kind is Any:
        return data
    if isinstance(data, float) and not math.isfinite(data):
        return _wrong(path, "a finite number", data, faults)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError:
        return _wrong(path, _name(kind), data, faults)


def _wrong(path: str, expected: str, data: Any, faults: list[Fault]) -> None:
    kind = type(data).__name__
    got = "nothing (null)" if data is None else f"{_GOT.get(kind, f'the {kind}')} {data!r}"
    faults.append(Fault(path, f"expected {expected}, got {got[:80]}."))


_GOT = {"str": "text", "int": "the number", "float": "the number", "bool": "the value", "dict": "the mapping"}


def _name(kind: Any) -> str:
    if isinstance(kind, type) and not typing.get_args(kind):
        return {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}.get(
            kind.__name__, kind.__name__
        )
    return str(kind).replace("typing.", "")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def json_schemas(kinds: Sequence[type]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return JSON Schemas 2020-12 of dataclasses: a reference for each, and the definitions that they refer to.

    Unknown keys are rejected, and an interpolation ``${…}`` is accepted for any value.
    """
    references, definitions = msgspec.json.schema_components(kinds)
    for schema in definitions.values():
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
            schema["properties"] = {key: or_interpolation(value) for key, value in schema["properties"].items()}
            # Another option or the command line may complete a group, so no key is required in a single file.
            schema.pop("required", None)
    return list(references), definitions


def or_interpolation(schema: dict[str, Any]) -> dict[str, Any]:
    """Extend a schema to accept ``${model.name}`` and ``???``, unless it accepts any text already."""
    if (schema.get("type") == "string" and "enum" not in schema) or not schema:
        return schema
    interpolation = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
    default = {"default": schema["default"]} if "default" in schema else {}
    return {"anyOf": [{k: v for k, v in schema.items() if k != "default"}, interpolation], **default}


SCHEMA = "https://json-schema.org/draft/2020-12/schema"
MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
"""Pattern of a timestamp: ISO 8601 with a time zone."""


def describe_field(text: str, **constraints: Any) -> msgspec.Meta:
    """Return the schema metadata of a document's field: a description, and keywords of JSON Schema."""
    return msgspec.Meta(description=text, extra_json_schema=constraints or None)


@functools.cache
def document_schema(form: type, *others: type, complete: bool = True) -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of the document that a dataclass describes.

    Unknown properties are rejected. With ``complete``, all fields are required except those that may be
    ``msgspec.UNSET``; otherwise only fields without a default. ``others`` are dataclasses to which only keywords of
    fields refer, as ``#/$defs/<name>``. The class variable ``SCHEMA`` of a dataclass is merged into its definition.
    """
    (root, *_), definitions = msgspec.json.schema_components((form, *others), ref_template="#/$defs/{name}")
    for kind in _dataclasses_of((form, *others)):
        definition = definitions[kind.__name__]
        definition["description"] = definition.get("description", kind.__name__).partition("\n")[0]
        definition |= {"additionalProperties": False, **getattr(kind, "SCHEMA", {})}
        if complete:
            unset = {name for name, hint in hints(kind).items() if msgspec.UnsetType in typing.get_args(hint)}
            definition["required"] = [field.name for field in dataclasses.fields(kind) if field.name not in unset]
    plain = {name: _tidy(definition, definitions) for name, definition in definitions.items()}
    main = plain.pop(root["$ref"].rpartition("/")[2])
    return {"$schema": SCHEMA, **main, **({"$defs": plain} if plain else {})}


def _dataclasses_of(kinds: Sequence[Any]) -> set[type]:
    """Return the dataclasses among types and, recursively, among the types of their fields."""
    result: set[type] = set()
    pending = list(kinds)
    while pending:
        kind = pending.pop()
        if dataclasses.is_dataclass(kind) and kind not in result:
            result.add(typing.cast("type", kind))
            pending += hints(typing.cast("type", kind)).values()
        pending += typing.get_args(kind)
    return result


def _tidy(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return the schema with each choice that includes null merged into one schema, for clear validation errors."""
    if isinstance(schema, list):
        return [_tidy(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _tidy(value, definitions) for key, value in schema.items() if key != "default"}
    if len(schema.get("enum", ())) == 1:
        schema = {**{key: value for key, value in schema.items() if key != "enum"}, "const": schema["enum"][0]}
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return schema
    merged: dict[str, Any] = {"type": []}
    for choice in choices:
        definition = _tidy(definitions[choice["$ref"].rpartition("/")[2]], definitions) if "$ref" in choice else choice
        merged = {**merged, **definition, "type": [*merged["type"], definition.get("type", "string")]}
    if "enum" in merged:
        merged["enum"] = [*merged["enum"], None]
    return {**merged, **{key: value for key, value in schema.items() if key != "anyOf"}}
