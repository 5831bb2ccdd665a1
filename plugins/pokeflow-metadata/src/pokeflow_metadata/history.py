"""``training_history.json``: every run of a stage that makes a model, ever; only ever added to."""

from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.digest import digest
from pokeflow.project import Project, Run
from pokeflow.types import Record
from pokeflow_metadata.forms import training_history as form
from pokeflow_metadata.values import SCHEMA_VERSION, Unknown, cost, fill, metrics, plain

Entry = dict[str, Any]

TRACKING = {"experiment": "experiment", "run_id": "run_id", "tracking_uri": "uri"}
"""Fields that may be filled in later, and what tracking calls them."""
MACHINES, OF_ONE_MACHINE = ("sqlite:", "file:"), "tracked in a file of the machine that ran it"
UNTRACKED = "no tracking is recorded for this run"


def build(project: Project) -> dict[str, Any]:
    """The history with the runs of the receipts, and those that this machine knows of."""
    published = (Run(record) for receipt in project.receipts for record in receipt.records)
    old = merged(project.old, entries(project.runs), project.about.name)
    return merged(old, entries(published), project.about.name)


def entries(runs: Iterable[Run]) -> list[Entry]:
    """The history's entries for those runs that made a model; what a double made is none."""
    made = (run for run in runs if run.record.makes_model and not run.record.simulated)
    return [_entry(run.record, run.tracked or {}) for run in made]


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
            **{name: _answer(tracking, key) for name, key in TRACKING.items()},
        },
    )
    return plain(entry)


def _answer(tracking: Mapping[str, Any], key: str) -> str | Unknown:
    told = str(tracking.get(key) or "")
    return Unknown(OF_ONE_MACHINE) if told.startswith(MACHINES) else told or Unknown(UNTRACKED)


def merged(old: Mapping[str, Any] | None, new: Iterable[Entry], project: str) -> dict[str, Any]:
    """The document with both: a union by id, sorted by (started, id).

    What is there is never changed, but that a run nobody had tracked yet gets its tracking.
    """
    runs: dict[str, Entry] = {entry["id"]: entry for entry in (old or {}).get("runs", ())}
    for entry in new:
        runs[entry["id"]] = _filled(runs[entry["id"]], entry) if entry["id"] in runs else entry
    ordered = sorted(runs.values(), key=lambda entry: (entry["started"], entry["id"]))
    # Not as the form, which would copy: what is new in it is known by what is the very entry of the old document.
    return {"project": project, "schema_version": SCHEMA_VERSION, "runs": ordered}


def _filled(old: Entry, new: Entry) -> Entry:
    gained = {name: new[name] for name in TRACKING if old[name] is None and new[name] is not None}
    reasons = {name: reason for name, reason in old["reasons"].items() if name not in gained}
    return {**old, **gained, "reasons": reasons} if gained else old
