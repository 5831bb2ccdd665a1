"""Writing of missing data to the target; existing data are overwritten only if a kill left the entity half copied."""

import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pokeflow import PokeflowError
from pokeflow_mlflow.migrate.entities import Model, Run
from pokeflow_mlflow.migrate.files import Files, checksum

if TYPE_CHECKING:
    from mlflow import MlflowClient

POINTS, PAIRS = 1000, 100
"""MLflow's limits per request."""
OPEN = ("RUNNING", "SCHEDULED")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Side:
    """Artifacts of the source or the target, and their sizes in bytes by path."""

    files: Files
    sizes: Mapping[str, int]


def write_run(client: "MlflowClient", wanted: Run, there: Run, *, half: bool) -> None:
    """Write the parameters, tags, histories, data sets and links to logged models that a run lacks.

    Args:
        client: the client of the target.
        wanted: the run as it should be.
        there: the run as it is.
        half: the run is half copied, so tags with another value are overwritten.

    """
    from mlflow import entities

    new = there.id
    params = [entities.Param(key, value) for key, value in wanted.params.items() if key not in there.params]
    for chunk in _chunks(params, PAIRS):
        client.log_batch(new, params=chunk)
    tags = {k: v for k, v in wanted.tags.items() if k not in there.tags or (half and there.tags[k] != v)}
    for few in _chunks([entities.RunTag(*pair) for pair in tags.items()], PAIRS):
        client.log_batch(new, tags=few)
    missing = [
        entities.Metric(key, float(point.value), point.time, point.step)
        for key, points in wanted.points.items()
        for point in sorted(points - there.points.get(key, frozenset()))
    ]
    for points in _chunks(missing, POINTS):
        client.log_batch(new, metrics=points)
    for data in sorted(wanted.datasets - there.datasets):
        about = (data.name, data.digest, data.source_type, data.source, data.schema or None, data.profile or None)
        marks = [entities.InputTag(*pair) for pair in data.tags]
        client.log_inputs(new, [entities.DatasetInput(entities.Dataset(*about), marks)])
    if inputs := wanted.inputs - there.inputs:
        client.log_inputs(new, models=[entities.LoggedModelInput(model) for model in sorted(inputs)])
    if outputs := wanted.outputs - there.outputs:
        client.log_outputs(new, [entities.LoggedModelOutput(model, step) for model, step in sorted(outputs)])


def write_model(client: "MlflowClient", wanted: Model, there: Model) -> None:
    """Write the parameters, tags and figures that a logged model lacks; the runs of the figures have these already."""
    from mlflow.entities import Metric

    if params := {key: value for key, value in wanted.params.items() if key not in there.params}:
        client.log_model_params(there.id, params)
    if tags := {key: value for key, value in wanted.tags.items() if key not in there.tags}:
        client.set_logged_model_tags(there.id, tags)
    for score in sorted(wanted.scores - there.scores):
        point = score.point
        about = (there.id, score.dataset or None, score.digest or None, score.run)
        client.log_batch(score.run, [Metric(score.key, float(point.value), point.time, point.step, *about)])


def end(client: "MlflowClient", wanted: Run, there: Run) -> None:
    """Set the status and end of the source's run, if the target's run is still open."""
    if there.status not in OPEN or wanted.status == there.status:
        return
    if wanted.end is not None and wanted.status not in OPEN:
        client.set_terminated(there.id, wanted.status, wanted.end)
    else:
        client.update_run(there.id, wanted.status)


def send(source: Side, there: Side, put: Callable[[str, str | None], None], work: Path, *, half: bool) -> None:
    """Upload the artifacts that are missing, and compare checksums where these are cheap to read.

    Args:
        source: the artifacts to upload.
        there: the artifacts in the target.
        put: uploads a local file to an artifact folder.
        work: a folder for downloads.
        half: the entity is half copied, so artifacts that differ are uploaded again.

    Raises:
        PokeflowError: an artifact arrived with another checksum.

    """
    for path, size in source.sizes.items():
        if path in there.sizes and not half:
            continue
        if there.sizes.get(path) == size and _may_be_same(source.files.sha256(path), there.files.sha256(path)):
            continue
        with tempfile.TemporaryDirectory(dir=work) as folder:
            file = source.files.fetch(path, Path(folder))
            sent = checksum(file)
            put(str(file), posixpath.dirname(path) or None)
        if (arrived := there.files.sha256(path)) not in (None, sent):
            message = f"artifact {path} is sha256 {sent[:12]}…, and {str(arrived)[:12]}… arrived"
            raise PokeflowError(f"{message}: it changed while it was copied, or was damaged. Run it again.")


def _may_be_same(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[i : i + size] for i in range(0, len(items), size))
