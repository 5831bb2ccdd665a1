"""JSON Schemas of receipts and links: generated from their dataclasses, with descriptions and limits of fields."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pokeflow.project.links import Link
from pokeflow.project.receipts import Receipt
from pokeflow.schema import MOMENT, document_schema

_SHA256 = {"description": "Checksum, hex.", "pattern": "^[0-9a-f]{64}$"}
_SIZE = {"description": "In bytes.", "minimum": 0}
_OR_EMPTY = "; empty if unknown."


def _describe(**fields: str | dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"description": value} if isinstance(value, str) else value for name, value in fields.items()}


FIELDS: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "Receipt": _describe(
        unit={
            "description": "models/<model>/<version>, or the name of another group of files published together.",
            "minLength": 1,
        },
        files="The published files.",
        model="The model; empty for anything else.",
        version="Its version; empty for anything else.",
        type="The model's type in the lineage, or empty.",
        parents="<model>:<version>, the parent in the lineage first.",
        digest=f"Digest of everything that determined it{_OR_EMPTY}",
        content=f"Content hash of the files of the task that produced it{_OR_EMPTY}",
        records="Records of its tasks; the one that produced it comes first.",
        origin="URI it was migrated from; null if it was published by a run.",
        facts="Facts that are in no record.",
    ),
    "PublishedFile": _describe(
        path={"description": "Below the tree's root.", "minLength": 1},
        size=_SIZE,
        sha256=_SHA256,
        source="<task>/<file>, document:<name>, or the URI it was migrated from.",
        fixed="True if the path belongs to a version, so the file never changes.",
    ),
    "Record": _describe(
        task="stage:model.",
        stage="The stage.",
        backend="The backend.",
        revision="Revision of the backend.",
        model="The model.",
        version="Its version.",
        type="The model's type in the lineage, or data.",
        digest="Digest of everything that determined the result.",
        params="The backend's parameters.",
        inputs="Content hash of each input, by task.",
        metrics="Metrics; null if unknown.",
        facts="Other facts about the result.",
        reasons="Reason for each unknown metric.",
        files="The task's files; left out here.",
        content="Content hash of the files.",
        environment="Software versions of the run.",
        executor="Executor that ran the task.",
        started={"description": "Start time, UTC.", "pattern": MOMENT},
        finished={"description": "End time, UTC.", "pattern": MOMENT},
        seconds={"description": "Duration of the backend.", "minimum": 0},
        cost_usd={"description": "Cost in US dollars.", "minimum": 0},
    ),
    "File": _describe(path="Within the task's folder.", size=_SIZE, sha256=_SHA256),
    "Link": _describe(
        target={
            "description": "A URI, a path on the machine that wrote it, or, if relative, a path below the store's "
            "root; the path of a folder ends in /.",
            "minLength": 1,
        },
        relative="True if target is relative to the store's root.",
        fingerprint="Content hash of the target.",
        size={"description": "Size of the target in bytes.", "minimum": 0},
        files={"description": "How many files the target has.", "minimum": 0},
        select="Selected part of the target; null for all of it.",
        task="Task that produced the target.",
        reasons="Reason for each null, by its key.",
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
    """Return a generated schema with the extra and constraints in ``FIELDS`` added."""
    definitions = {schema["title"]: schema, **schema.get("$defs", {})}
    completed = {}
    for name, definition in definitions.items():
        extra = FIELDS.get(name, {})
        properties = {field: {**kind, **extra.get(field, {})} for field, kind in definition["properties"].items()}
        completed[name] = {**definition, "properties": properties}
    root = completed.pop(schema["title"])
    return {**root, "$defs": completed} if completed else root
