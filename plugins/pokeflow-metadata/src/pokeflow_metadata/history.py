"""Document ``training_history.json``: every run that has produced a model; entries are only ever added."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.digest import digest
from pokeflow.project import Project, Run
from pokeflow.types import Record
from pokeflow_metadata.forms import training_history as form
from pokeflow_metadata.values import SCHEMA_VERSION, Unknown, cost, fill, metrics, plain

Entry = dict[str, Any]

TRACKING = {"experiment": "experiment", "run_id": "run_id", "tracking_uri": "uri"}
"""Fields that may be filled in later, and their keys in the tracking data."""
MACHINES, OF_ONE_MACHINE = ("sqlite:", "file:"), "tracked in a file of the machine that ran it"
UNTRACKED = "no tracking is recorded for this run"


def build(project: Project) -> dict[str, Any]:
    """Build the history: the old document, the runs that this machine knows, and the runs in the receipts."""
    published = (Run(record) for receipt in project.receipts for record in receipt.records)
    old = merge(project.old, entries(project.runs), project.about.name)
    return merge(old, entries(published), project.about.name)


def entries(runs: Iterable[Run]) -> list[Entry]:
    """Return the history entries of the runs that produced a model, without simulated runs."""
    model_runs = (run for run in runs if run.record.makes_model and not run.record.simulated)
    return [_entry(run.record, run.tracked or {}) for run in model_runs]


def _entry(record: Record, tracking: Mapping[str, Any]) -> Entry:
    entry = fill(
        form.Entry,
        {
            "id": digest([record.task, record.digest, record.started]),
            "task": record.task,
            "stage": record.stage,
            "model": record.model,
            "version": record.version,
            "type": record.type,
            "digest": record.digest,
            "content": record.content,
            "backend": record.backend,
            "revision": record.revision,
            "executor": record.executor,
            "status": "finished",
            "started": record.started,
            "finished": record.finished,
            "seconds": record.seconds,
            "cost_usd": cost(record),
            "params": record.params,
            "inputs": record.inputs,
            "metrics": metrics(record),
            **{name: _tracking_value(tracking, key) for name, key in TRACKING.items()},
        },
    )
    return plain(entry)


def _tracking_value(tracking: Mapping[str, Any], key: str) -> str | Unknown:
    text = str(tracking.get(key) or "")
    return Unknown(OF_ONE_MACHINE) if text.startswith(MACHINES) else text or Unknown(UNTRACKED)


def merge(old: Mapping[str, Any] | None, new: Iterable[Entry], project: str) -> dict[str, Any]:
    """Merge new entries into the document: a union by id, sorted by (started, id).

    Existing entries never change, except that tracking fields that are null are filled in.

    Args:
        old: The old document, or None.
        new: New entries.
        project: Name of the project.

    """
    runs: dict[str, Entry] = {entry["id"]: entry for entry in (old or {}).get("runs", ())}
    for entry in new:
        runs[entry["id"]] = _with_additions(runs[entry["id"]], entry) if entry["id"] in runs else entry
    sorted_runs = sorted(runs.values(), key=lambda entry: (entry["started"], entry["id"]))
    # A plain dict instead of the form, which would copy: callers find unchanged entries by object identity.
    return {"project": project, "schema_version": SCHEMA_VERSION, "runs": sorted_runs}


def _with_additions(old: Entry, new: Entry) -> Entry:
    additions = {name: new[name] for name in TRACKING if old[name] is None and new[name] is not None}
    reasons = {name: reason for name, reason in old["reasons"].items() if name not in additions}
    return {**old, **additions, "reasons": reasons} if additions else old
