"""Provenance of a finished task, and its URI in a bucket, both read from files in the task's folder."""

import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pokeflow import Record
from pokeflow.types import SHARED_MARK, TELEMETRY

log = logging.getLogger(__name__)

STEPS, SYSTEM, TENSORBOARD = f"{TELEMETRY}/steps.jsonl", f"{TELEMETRY}/system.jsonl", f"{TELEMETRY}/tensorboard"


@dataclass(frozen=True, slots=True)
class Trial:
    """The trial of a sweep that executed a task: the sweep's id, the trial's number and its overrides."""

    sweep: str
    number: int
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Provenance of a task: the command, the trial of a sweep, if any, and the composed configuration."""

    command: str = ""
    trial: Trial | None = None
    config: dict[str, Any] = field(default_factory=dict)


def read_note(folder: Path) -> Note:
    """Return the provenance in a task's folder; an empty note if the file is missing or, with a warning, unreadable."""
    import yaml

    file = folder / TELEMETRY / "run.yaml"
    try:
        run = yaml.safe_load(file.read_text(encoding="utf-8"))
        sweep = run.get("sweep")
        trial = None
        if sweep:
            # Searches enclose the id in quotes, so it must not contain any.
            name = re.sub(r"['\"`\\]", "-", str(sweep["id"]))
            trial = Trial(name, int(sweep["trial"]), tuple(map(str, sweep["overrides"])))
        return Note(str(run.get("command") or ""), trial, dict(run.get("config") or {}))
    except FileNotFoundError:
        return Note()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        log.warning("%s: the provenance of the task cannot be read: %s", file, str(error).partition("\n")[0])
        return Note()


def bucket_uri(record: Record, folder: Path) -> str | None:
    """Return the task's URI in a bucket; None if this execution of it is not known to have been uploaded."""
    try:
        mark = json.loads((folder / SHARED_MARK).read_bytes())
        store_uri = str(mark["where"]) if mark["started"] == record.started else ""
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return f"{store_uri}/{record.path}" if store_uri else None
