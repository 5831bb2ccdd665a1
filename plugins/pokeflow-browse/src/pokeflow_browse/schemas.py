"""JSON Schemas of receipts and links, generated from their dataclasses, with descriptions of their fields."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pokeflow.project.links import Link
from pokeflow.project.receipts import Receipt
from pokeflow.schema import MOMENT, document_schema

_SHA256 = {"description": "Checksum, hex.", "pattern": "^[0-9a-f]{64}$"}
_SIZE = {"description": "In bytes.", "minimum": 0}
_KNOWN_OR_NOT = "; empty where unknown."


def _said(**fields: str | dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"description": text} if isinstance(text, str) else text for name, text in fields.items()}


FIELDS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "Receipt": _said(
        unit={
            "description": "models/<model>/<version>, or the name of what else came together.",
            "minLength": 1,
        },
        files="What was placed.",
        model="The model; empty for anything else.",
        version="Its version; empty for anything else.",
        type="The model's type in the lineage, or empty.",
        parents="<model>:<version>, the parent in the lineage first.",
        digest=f"Of all that decided it{_KNOWN_OR_NOT}",
        content=f"Of its making's files{_KNOWN_OR_NOT}",
        records="Those of its tasks, the making first.",
        origin="Where it was migrated from; null for what was published.",
        facts="What is known of it beside records.",
    ),
    "PublishedFile": _said(
        path={"description": "Below the tree's root.", "minLength": 1},
        size=_SIZE,
        sha256=_SHA256,
        source="<task>/<file>, document:<name>, or the URI it was migrated from.",
        fixed="Whether it lies under a version and never changes.",
    ),
    "Record": _said(
        task="stage:model.",
        stage="The stage.",
        backend="The backend.",
        revision="Of the backend.",
        model="The model.",
        version="Its version.",
        type="The model's type in the lineage, or data.",
        digest="Of all that decided the result.",
        params="The backend's parameters.",
        inputs="What the task read: the content each input had, by task.",
        metrics="Figures; null is unknown.",
        facts="What else is worth telling.",
        reasons="Why each unknown figure is unknown.",
        files="The task's files; left out here.",
        content="Of the files.",
        environment="The software it was made with.",
        executor="Where it ran.",
        started={"description": "When it began, UTC.", "pattern": MOMENT},
        finished={"description": "When it ended, UTC.", "pattern": MOMENT},
        seconds={"description": "What the backend took.", "minimum": 0},
        cost_usd={"description": "In US dollars.", "minimum": 0},
    ),
    "File": _said(path="Within the task's folder.", size=_SIZE, sha256=_SHA256),
    "Link": _said(
        target={
            "description": "A URI, a path of the machine that wrote it, or, where relative, a path below the store's "
            "root; a folder's ends in /.",
            "minLength": 1,
        },
        relative="Whether target begins at the store's root.",
        fingerprint="What names the content of the target.",
        size={"description": "Size of the target in bytes.", "minimum": 0},
        files={"description": "How many files the target has.", "minimum": 0},
        select="Which part of the target is meant; null is all of it.",
        task="The task that describes the target.",
        reasons="Why each null beside it is null, by its key.",
    ),
}


@cache
def receipt_schema() -> dict[str, Any]:
    """Return the JSON Schema of a receipt, whose omitted fields have their defaults."""
    return _with_fields(document_schema(Receipt, complete=False))


@cache
def link_schema() -> dict[str, Any]:
    """Return the JSON Schema of a link, which always has all of its fields."""
    return _with_fields(document_schema(Link))


def _with_fields(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a generated schema with the descriptions and constraints in ``FIELDS`` added."""
    definitions = {schema["title"]: schema, **schema.get("$defs", {})}
    completed = {}
    for name, one in definitions.items():
        descriptions = FIELDS.get(name, {})
        properties = {field: {**kind, **descriptions.get(field, {})} for field, kind in one["properties"].items()}
        completed[name] = {**one, "properties": properties}
    root = completed.pop(schema["title"])
    return {**root, "$defs": completed} if completed else root
