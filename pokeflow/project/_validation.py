"""Validation of documents: they must conform to their schema and have a reason for every null."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.types import call_plugin

VERBATIM = ("params", "facts", "environment")
"""Keys whose values are copied from a record unchanged: a null in them is a setting, not an unknown figure."""
Schema = Mapping[str, Any]


def faults_of(document: Any, schema: Schema | None) -> list[str]:
    """Return all faults of a document, each with the path in it."""
    return [*schema_faults(document, schema), *reason_faults(document)]


def require(document: Any, schema: Schema | None, location: str, old: Any = None) -> None:
    """Raise a PokeflowError with each fault of an invalid document, its path, and its ``location``.

    Items taken over from ``old``, a valid document, are not validated again: a history is long, its new part short.
    """
    if not faults_of(_new(document, old), schema):
        return
    if faults := faults_of(document, schema):
        lines = "\n".join(f"{location}: {fault}" for fault in faults[:8])
        more = f"\nand {len(faults) - 8} more" if len(faults) > 8 else ""
        raise PokeflowError(lines + more)


def _new(document: Any, old: Any) -> Any:
    """Return the document without those list items that are identical objects in the old one."""
    if not isinstance(old, Mapping) or not isinstance(document, Mapping):
        return document
    old_items = {id(item) for value in old.values() if isinstance(value, list) for item in value}
    return {
        key: [item for item in value if id(item) not in old_items] if isinstance(value, list) else value
        for key, value in document.items()
    }


def schema_faults(document: Any, schema: Schema | None) -> list[str]:
    """Return all violations of the schema, each with its path in the document."""
    if schema is None:
        return []
    from jsonschema import Draft202012Validator

    violations = call_plugin("a document's schema", list, Draft202012Validator(schema).iter_errors(document))
    errors = sorted(violations, key=lambda error: error.json_path)
    return [f"{error.json_path}: {_cut(error.message)}" for error in errors]


def reason_faults(document: Any, path: str = "$") -> Iterator[str]:
    """Yield faults for nulls without a reason and reasons without a null, except inside ``VERBATIM`` settings."""
    if isinstance(document, Mapping):
        reasons = document.get("reasons")
        reasons = reasons if isinstance(reasons, Mapping) else {}
        for key, value in document.items():
            if value is None and not reasons.get(key):
                yield f"{path}.{key}: null without a reason."
            elif key not in VERBATIM and key != "reasons":
                yield from reason_faults(value, f"{path}.{key}")
        for key in reasons:
            if document.get(key, key) is not None:
                yield f"{path}.reasons.{key}: a reason for a value that is not null."
    elif isinstance(document, list):
        for index, value in enumerate(document):
            if value is None:
                yield f"{path}[{index}]: null without a reason."
            yield from reason_faults(value, f"{path}[{index}]")


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:150]} … {text[-140:]}"


def check_bytes(data: bytes, schema: Schema) -> list[str]:
    """Return all faults of a serialized JSON document, each with its path; empty if it is valid."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        return [f"not JSON ({error})"]
    return faults_of(document, schema)
