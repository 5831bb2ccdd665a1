"""Sweeps in MLflow: one parent run per experiment, and a child run for every task that the sweep's trials executed.

Children are found by the sweep's tag, not by their parent. So two trials that each created a parent, on a server that
has no lock for them, agree in the end: the oldest parent keeps all children, and the other one is deleted.
"""

import logging
from typing import TYPE_CHECKING, Any

from pokeflow import Record
from pokeflow_mlflow.connection import synchronize
from pokeflow_mlflow.curves import milliseconds
from pokeflow_mlflow.fields import as_tags
from pokeflow_mlflow.provenance import Note, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)
ROUNDS = 20
PARENT = "mlflow.parentRunId"
SWEEP, KIND = "pokeflow.sweep", "pokeflow.stage"


def parent(client: "MlflowClient", experiment: str, trial: Trial, note: Note, record: Record) -> str:
    """Return the id of the parent run of a trial's sweep in an experiment; create the run if it does not exist.

    Args:
        client: MLflow's client.
        experiment: Id of the experiment.
        trial: The trial.
        note: Command and configuration of the trial.
        record: Record of the trial's task; the parent run starts when the task started.

    """
    parents = _parents(client, experiment, trial.sweep)
    if not parents:
        tags = {SWEEP: trial.sweep, KIND: "sweep", "mlflow.source.name": "pokeflow", "pokeflow.command": note.command}
        name = f"sweep {trial.sweep}"
        client.create_run(experiment, milliseconds(record.started), as_tags(tags), run_name=name)
        parents = _parents(client, experiment, trial.sweep)
    return str(parents[0].info.run_id)


def tags_of(trial: Trial, parent_id: str) -> dict[str, str]:
    """Return the tags of a child run: its sweep, its trial and its parent run."""
    numbers = {SWEEP: trial.sweep, f"{SWEEP}.trial": trial.number, f"{SWEEP}.overrides": " ".join(trial.overrides)}
    return {**as_tags(numbers), PARENT: parent_id}


def reconcile(client: "MlflowClient", experiment: str, trial: Trial, note: Note, record: Record) -> None:
    """Update a sweep's parent run from its children, and attach all children to the one parent that is kept.

    Call this when the trial's own child run exists. Each round first publishes local changes and then reads, until
    there is nothing left to correct: so the process that comes last sees all parents and all children. If other
    processes change the sweep in all ``ROUNDS`` rounds, a warning is logged, and the sweep's next trial completes it.
    The arguments are those of ``parent``.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(ROUNDS):
        synchronize(client)
        try:
            if not _parents(client, experiment, trial.sweep):
                parent(client, experiment, trial, note, record)  # another process has deleted it
            elif _is_reconciled(client, experiment, trial):
                return
        except MlflowException as error:
            # Another process has just deleted the run to write to.
            log.debug("sweep %s: %s", trial.sweep, error)
    log.warning("sweep %s: other processes keep changing it; its next trial will update the parent run", trial.sweep)


def _is_reconciled(client: "MlflowClient", experiment: str, trial: Trial) -> bool:
    """Correct parents, children and the parent's end; return whether only the end had to be corrected, if anything."""
    parent_run, *duplicates = _parents(client, experiment, trial.sweep)
    children = _all(client, experiment, f"tags.`{SWEEP}` = '{trial.sweep}' and tags.`{KIND}` != 'sweep'")
    misplaced = [child for child in children if child.data.tags.get(PARENT) != parent_run.info.run_id]
    for child in misplaced:
        client.set_tag(child.info.run_id, PARENT, parent_run.info.run_id)
    for duplicate in duplicates:
        client.delete_run(duplicate.info.run_id)
    ends = [child.info.end_time for child in children]
    if None in ends:
        client.update_run(parent_run.info.run_id, "RUNNING")
    elif ends and (parent_run.info.status != "FINISHED" or parent_run.info.end_time != max(ends)):
        client.set_terminated(parent_run.info.run_id, "FINISHED", max(ends))
    return not misplaced and not duplicates


def _parents(client: "MlflowClient", experiment: str, sweep: str) -> list[Any]:
    """Return the sweep's parent runs, first the one that is kept: the oldest."""
    runs = _all(client, experiment, f"tags.`{SWEEP}` = '{sweep}' and tags.`{KIND}` = 'sweep'")
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _all(client: "MlflowClient", experiment: str, query: str) -> list[Any]:
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment], query, max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs
