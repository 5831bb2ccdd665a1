"""Writing of missing data to the target; existing data are overwritten only if a kill left an incomplete copy."""

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

MAX_POINTS, MAX_PAIRS = 1000, 100
"""MLflow's limits per request."""
OPEN = ("RUNNING", "SCHEDULED")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ArtifactSet:
    """Artifacts of the source or the target, and their sizes in bytes by path."""

    files: Files
    sizes: Mapping[str, int]


def write_run(client: "MlflowClient", expected: Run, actual: Run, *, incomplete: bool) -> None:
    """Write the parameters, tags, histories, data sets and links to logged models that a run lacks.

    Args:
        client: The client of the target.
        expected: The run as it should be.
        actual: The run as it is.
        incomplete: An earlier attempt was killed while it copied the run; its tags are overwritten.

    """
    from mlflow import entities

    new = actual.id
    params = [entities.Param(key, value) for key, value in expected.params.items() if key not in actual.params]
    for chunk in _chunks(params, MAX_PAIRS):
        client.log_batch(new, params=chunk)
    tags = {k: v for k, v in expected.tags.items() if k not in actual.tags or (incomplete and actual.tags[k] != v)}
    for chunk_of_tags in _chunks([entities.RunTag(*pair) for pair in tags.items()], MAX_PAIRS):
        client.log_batch(new, tags=chunk_of_tags)
    missing = [
        entities.Metric(key, float(point.value), point.time, point.step)
        for key, points in expected.points.items()
        for point in sorted(points - actual.points.get(key, frozenset()))
    ]
    for points in _chunks(missing, MAX_POINTS):
        client.log_batch(new, metrics=points)
    for data in sorted(expected.datasets - actual.datasets):
        details = (data.name, data.digest, data.source_type, data.source, data.schema or None, data.profile or None)
        data_tags = [entities.InputTag(*pair) for pair in data.tags]
        client.log_inputs(new, [entities.DatasetInput(entities.Dataset(*details), data_tags)])
    if inputs := expected.inputs - actual.inputs:
        client.log_inputs(new, models=[entities.LoggedModelInput(model) for model in sorted(inputs)])
    if outputs := expected.outputs - actual.outputs:
        client.log_outputs(new, [entities.LoggedModelOutput(model, step) for model, step in sorted(outputs)])


def write_model(client: "MlflowClient", expected: Model, actual: Model) -> None:
    """Write the parameters, tags and figures that a logged model lacks; the runs of the figures have these already."""
    from mlflow.entities import Metric

    if params := {key: value for key, value in expected.params.items() if key not in actual.params}:
        client.log_model_params(actual.id, params)
    if tags := {key: value for key, value in expected.tags.items() if key not in actual.tags}:
        client.set_logged_model_tags(actual.id, tags)
    for score in sorted(expected.scores - actual.scores):
        point = score.point
        details = (actual.id, score.dataset or None, score.digest or None, score.run)
        client.log_batch(score.run, [Metric(score.key, float(point.value), point.time, point.step, *details)])


def end(client: "MlflowClient", expected: Run, actual: Run) -> None:
    """Set the status and end of the source's run, if the target's run is still open."""
    if actual.status not in OPEN or expected.status == actual.status:
        return
    if expected.end is not None and expected.status not in OPEN:
        client.set_terminated(actual.id, expected.status, expected.end)
    else:
        client.update_run(actual.id, expected.status)


def send(
    source: ArtifactSet, target: ArtifactSet, put: Callable[[str, str | None], None], work: Path, *, incomplete: bool
) -> None:
    """Upload the artifacts that are missing, and compare checksums where these are cheap to read.

    Args:
        source: The artifacts to upload.
        target: The artifacts in the target.
        put: Uploads a local file to an artifact folder.
        work: A folder for downloads.
        incomplete: An earlier attempt was killed while it copied the entity; artifacts that differ are uploaded again.

    Raises:
        PokeflowError: If an artifact arrived with another checksum.

    """
    for path, size in source.sizes.items():
        if path in target.sizes and not incomplete:
            continue
        if target.sizes.get(path) == size and _may_be_same(source.files.sha256(path), target.files.sha256(path)):
            continue
        with tempfile.TemporaryDirectory(dir=work) as folder:
            file = source.files.fetch(path, Path(folder))
            source_sha256 = checksum(file)
            put(str(file), posixpath.dirname(path) or None)
        if (target_sha256 := target.files.sha256(path)) not in (None, source_sha256):
            message = f"artifact {path} is sha256 {source_sha256[:12]}…, but the copy is {str(target_sha256)[:12]}…"
            raise PokeflowError(
                f"{message}: it changed while it was copied, or the copy was damaged. Run the same command again."
            )


def _may_be_same(first: str | None, second: str | None) -> bool:
    return first is None or second is None or first == second


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[i : i + size] for i in range(0, len(items), size))
