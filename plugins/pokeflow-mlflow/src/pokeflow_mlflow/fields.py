"""Conversion of a record's fields to MLflow's parameters, tags and text, within its lengths and without secrets."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pokeflow import Record
from pokeflow_mlflow.provenance import Note

# MLflow's limits, in characters.
KEY, PARAM, TAG = 250, 6000, 8000
_TAGS = (
    "digest", "started", "task", "stage", "model", "version", "type", "backend", "revision", "executor", "content",
)  # fmt: skip


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """Flatten nested parameters: ``{"loss": {"kl": 1}}`` → ``{"loss.kl": "1"}``, within MLflow's lengths."""
    return _flat(clean(params), "")


def _flat(params: Mapping[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[key(f"{prefix}{name}")] = _cut(_text(value), PARAM)
    return flat


def tags_of(record: Record, folder: Path, uri: str | None, note: Note) -> dict[str, str]:
    """Return the tags of a run: the record's fields except parameters and figures, and its provenance.

    Args:
        record: The record of the task.
        folder: The task's folder on the machine that executed it.
        uri: The task's URI in a bucket, or None.
        note: The provenance of the task.

    """
    environment = record.environment
    tags = {
        **{f"pokeflow.{name}": getattr(record, name) for name in _TAGS},
        "pokeflow.parents": json.dumps(dict(record.inputs)),
        "pokeflow.folder": str(folder.absolute()),
        "pokeflow.uri": uri,
        "pokeflow.command": note.command,
        "pokeflow.git.dirty": environment.get("project_git_dirty"),
        **{f"pokeflow.fact.{name}": value for name, value in clean(record.facts).items()},
        **{f"pokeflow.reason.{name}": value for name, value in record.reasons.items()},
        "mlflow.source.name": "pokeflow",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": environment.get("project_git"),
    }
    return as_tags(tags)


def as_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as MLflow's tags; None and empty strings get no tag."""
    return {key(name): _cut(_text(clean(value)), TAG) for name, value in values.items() if value not in (None, "")}


def as_json(record: Record) -> str:
    """Return the record as JSON, without secrets."""
    return json.dumps(clean(dataclasses.asdict(record)), indent=2, ensure_ascii=False, default=str) + "\n"


def clean(value: Any) -> Any:
    """Return plain data without secrets, by the same rules as the project's metadata."""
    from pokeflow.redaction import redact

    return redact(value)


def key(name: str) -> str:
    """Return a name as a key that MLflow accepts, at most ``KEY`` characters long.

    Characters that MLflow refuses become ``_``, and so do leading dots and slashes of a path's parts and a trailing
    slash, which could lead to another path.
    """
    return re.sub(r"[^\w\-. /]|(?<![^/])[./]+|/$", "_", name[:KEY]) or "_"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
