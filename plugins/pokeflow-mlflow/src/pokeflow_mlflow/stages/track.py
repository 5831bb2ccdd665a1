"""Tracking of a finished task as an MLflow run, with its parameters, figures, curves and files.

Every step may be repeated, so a run that a kill left incomplete is found by its tags and completed.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pokeflow import Record, Result, Task
from pokeflow_mlflow import artifacts, curves, provenance, sweeps
from pokeflow_mlflow.address import redact
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.curves import milliseconds
from pokeflow_mlflow.fields import flatten, tags_of
from pokeflow_mlflow.params import TrackParams

if TYPE_CHECKING:
    from mlflow import MlflowClient

SENT = "pokeflow.points"
"""Tag with the number of points logged so far; sent in one transaction with them, so that none is sent twice."""
# MLflow's limits per request; the limit of metrics leaves room for one tag.
MAX_METRICS, MAX_PAIRS = 999, 100
Item = TypeVar("Item")


def run(task: Task) -> Result:
    """Log the record of the task's input as a run; logging the same record again changes nothing.

    Returns:
        Facts: ``run_id``, ``experiment`` and ``uri``, the store's URI without passwords.

    """
    params: TrackParams = task.params
    record, folder = task.inputs[0].record, task.inputs[0].folder
    # Runs of a model's own experiment are compared with each other: only those that produce the model belong there.
    name = params.experiments.get(record.model, params.project) if record.makes_model else params.project
    note = provenance.read_note(folder)
    with connect(params.uri, endpoint=params.endpoint, region=params.region) as connection:
        client, experiment = connection.client, connection.experiment(name)
        mlflow_run = _find(client, experiment, record)
        if mlflow_run is None:
            mlflow_run = _create(client, experiment, record, note)
        run_id = str(mlflow_run.info.run_id)
        if mlflow_run.info.status != "FINISHED":
            _log_run(client, mlflow_run, record, folder, note, params)
            client.set_terminated(run_id, "FINISHED", milliseconds(record.finished))
        if note.trial:
            sweeps.reconcile(client, experiment, note.trial, note, record)
    return Result(facts={"run_id": run_id, "experiment": name, "uri": redact(params.uri)})


def _find(client: "MlflowClient", experiment: str, record: Record) -> Any:
    """Find the run of this record; if a lost response led to duplicates, keep the most complete and delete the rest."""
    query = f"tags.`pokeflow.digest` = '{record.digest}' and tags.`pokeflow.started` = '{record.started}'"
    runs = sorted(
        client.search_runs([experiment], query),
        key=lambda run: (run.info.status != "FINISHED", -int(run.data.tags.get(SENT, 0)), run.info.run_id),
    )
    for duplicate in runs[1:]:
        client.delete_run(duplicate.info.run_id)
    return runs[0] if runs else None


def _create(client: "MlflowClient", experiment: str, record: Record, note: provenance.Note) -> Any:
    # The tags that identify the run are created with it, in one transaction.
    tags = {"pokeflow.digest": record.digest, "pokeflow.started": record.started}
    if note.trial:
        tags |= sweeps.tags_of(note.trial, sweeps.parent(client, experiment, note.trial, note, record))
    return client.create_run(experiment, milliseconds(record.started), tags, run_name=record.task)


def _log_run(
    client: "MlflowClient", mlflow_run: Any, record: Record, folder: Path, note: provenance.Note, params: TrackParams
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    run_id, uri = mlflow_run.info.run_id, provenance.bucket_uri(record, folder)
    task_curves = curves.read(record, folder, params.rows)
    tags = tags_of(record, folder, uri, note) | {
        f"pokeflow.thinned.{file}": of for file, of in task_curves.thinned.items()
    }
    for chunk in _chunks(flatten(record.params).items(), MAX_PAIRS):
        client.log_batch(run_id, params=[Param(*pair) for pair in chunk])
    for chunk in _chunks(tags.items(), MAX_PAIRS):
        client.log_batch(run_id, tags=[RunTag(*pair) for pair in chunk])
    sent_points = int(mlflow_run.data.tags.get(SENT, 0))
    for points in _chunks(islice(task_curves.points(), sent_points, None), MAX_METRICS):
        sent_points += len(points)
        client.log_batch(run_id, metrics=[Metric(*point) for point in points], tags=[RunTag(SENT, str(sent_points))])
    artifacts.send(client, run_id, record, folder, uri, note, params)


def _chunks(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
