"""AWS's validation of requests, by botocore's model of the service."""

import functools
from collections.abc import Iterator
from typing import Any

import botocore.session
import regex

TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
SIZED = ("string", "list", "map")
NUMBERS = ("integer", "long", "float", "double")
REFERENCES = ("Get", "Std:Join", "Std:JsonGet")
"""Keys of references, which may replace a value in a pipeline's definition."""


@functools.cache
def model(service: str) -> Any:
    """Return botocore's model of a service, by the name that signs requests."""
    return botocore.session.get_session().get_service_model(service)


def input_shape(service: str, operation: str) -> Any:
    """Return the shape of an operation's request; None if it has no members or does not exist."""
    known = model(service)
    return known.operation_model(operation).input_shape if operation in known.operation_names else None


@functools.cache
def _pattern(text: str) -> Any:
    """Compile a pattern of AWS (Java's syntax), or return None where that fails."""
    text = regex.sub(r"\$\{\d+,\d+\}", "", text)  # a length that is misspelt in the models
    try:
        return regex.compile(text)
    except regex.error:
        return None


def violations(  # noqa: PLR0912 - one branch for each kind of shape
    shape: Any, value: Any, path: str = "", loose: bool = False
) -> Iterator[str]:
    """Yield every constraint that a value breaks, in AWS's words.

    ``loose``: a pipeline's references may replace values.
    """
    if loose and isinstance(value, dict) and len(value) == 1 and next(iter(value)) in REFERENCES:
        return
    kind = shape.type_name
    if kind in TYPES and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind in NUMBERS)):
        if not (loose and kind in NUMBERS and isinstance(value, str)):
            yield f"Value at '{path}' failed to satisfy constraint: Member must be a {kind}"
        return
    yield from _limits(shape, value, path)
    if kind == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"Value null at '{_below(path, name)}' failed to satisfy constraint: Member must not be null"
        for name, part in value.items():
            if name not in shape.members:
                yield f"Value at '{_below(path, name)}' failed to satisfy constraint: Member is not known"
            elif part is not None:
                yield from violations(shape.members[name], part, _below(path, name), loose)
    elif kind == "list":
        for number, part in enumerate(value, 1):
            yield from violations(shape.member, part, f"{path}.{number}.member", loose)
    elif kind == "map":
        for name, part in value.items():
            yield from violations(shape.key, name, f"{path}.key")
            yield from violations(shape.value, part, f"{path}.{name}.value", loose)


def _below(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _limits(shape: Any, value: Any, path: str) -> Iterator[str]:
    limits, kind = shape.metadata, shape.type_name
    if kind in SIZED or kind in NUMBERS:
        size, what = (len(value), "have length") if kind in SIZED else (value, "have value")
        shown = repr(value)[:80]
        if "min" in limits and size < limits["min"]:
            yield f"Value {shown} at '{path}' failed to satisfy constraint: " + (
                f"Member must {what} greater than or equal to {limits['min']}"
            )
        if "max" in limits and size > limits["max"]:
            yield f"Value {shown} at '{path}' failed to satisfy constraint: " + (
                f"Member must {what} less than or equal to {limits['max']}"
            )
    if kind != "string":
        return
    if shape.enum and value not in shape.enum:
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: " + (
            f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        )
    pattern = limits.get("pattern") and _pattern(limits["pattern"])
    if pattern and not pattern.fullmatch(value):
        yield f"Value '{value[:200]}' at '{path}' failed to satisfy constraint: " + (
            f"Member must satisfy regular expression pattern: {limits['pattern']}"
        )


def complaint(broken: list[str]) -> str:
    """Return the message that AWS builds from violations."""
    return f"{len(broken)} validation error{'s' * (len(broken) > 1)} detected: {'; '.join(broken[:10])}"


def filter_members(shape: Any, value: Any) -> Any:
    """Return a value with only the members of its shape, as it is sent."""
    if value is None or shape is None:
        return None
    if shape.type_name == "structure":
        known = {name: filter_members(part, value[name]) for name, part in shape.members.items() if name in value}
        return {name: part for name, part in known.items() if part is not None}
    if shape.type_name == "list":
        return [filter_members(shape.member, part) for part in value]
    if shape.type_name == "map":
        return {name: filter_members(shape.value, part) for name, part in value.items()}
    return value
