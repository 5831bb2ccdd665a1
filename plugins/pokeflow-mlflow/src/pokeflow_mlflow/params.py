"""The parameters of the stages, and what is checked of them before anything runs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow.gates import Gate
from pokeflow.gates import faults as gate_faults
from pokeflow_mlflow.address import faults, is_server


@dataclass(frozen=True, slots=True)
class TrackParams:
    """Where runs are kept, and under which experiments.

    ``uri`` is ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a server's ``http(s)://``, ``s3://bucket/prefix``
    or the ARN of SageMaker's managed MLflow. ``experiments`` maps a model to the experiment of what makes it; all else
    goes to the one named ``project``. Of the files, small text, embeddings and TensorBoard's are logged, these up to
    ``file_mb`` each, the others told by links; ``log_artifacts`` has every file logged. ``rows`` is how many rows of a
    task's telemetry are drawn at most, spread evenly (None: all). ``endpoint`` and ``region`` are of another S3 server
    than AWS's.
    """

    uri: str
    project: str = "pokeflow"
    experiments: dict[str, str] = field(default_factory=dict)
    log_artifacts: bool = False
    file_mb: float = 100.0
    rows: int | None = 10_000
    endpoint: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class RegisterParams:
    """Which registry a model goes to, and what of it.

    ``registry_uri`` is given where the registry is not at ``uri`` itself. ``experiment`` holds models
    whose making was not tracked. ``description`` stands in front of what the records say.
    ``without`` are patterns of files that stay behind: checkpoints, calibration pictures and a compiler's archive
    serve nobody who loads a model.
    ``alias`` is given to the newest version whose figures pass all ``gates``, by the figures' names. Without gates
    nothing was asked, so nothing is approved: the alias stays where it is. ``endpoint`` and ``region`` are of another
    S3 server than AWS's.
    """

    uri: str
    registry_uri: str | None = None
    experiment: str = "registered-models"
    description: str = ""
    without: tuple[str, ...] = ("*.pt", "calibration_dataset.npy", "*.har")
    alias: str = "approved"
    gates: dict[str, Gate] = field(default_factory=dict)
    endpoint: str | None = None
    region: str | None = None


def check_track(params: TrackParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, what is wrong with it) of what is tracked."""
    yield from (("uri", fault) for fault in faults(params.uri))
    if not params.project:
        yield "project", "is empty; it names the experiment of what has none of its own"
    yield from ((f"experiments.{model}", "is empty") for model, name in params.experiments.items() if not name)
    if not params.file_mb >= 0:
        yield "file_mb", f"{params.file_mb} is below 0"
    if params.rows is not None and params.rows < 1:
        yield "rows", f"{params.rows} is below 1; null draws them all"
    if params.endpoint is not None and not is_server(params.endpoint):
        yield "endpoint", "is no address of a server: http://host:port or https://host, credentials are found elsewhere"


def check_register(params: RegisterParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, what is wrong with it) of what is registered."""
    yield from (("uri", fault) for fault in faults(params.uri))
    yield from (("registry_uri", fault) for fault in faults(params.registry_uri or params.uri) if params.registry_uri)
    if not params.experiment:
        yield "experiment", "is empty"
    # MLflow's rules; it keeps "latest" and names like v1 for itself.
    if not re.fullmatch(r"(?!(latest|[vV]\d+)$)[\w-]{1,255}", params.alias):
        yield "alias", f"{params.alias!r} is no alias: letters, digits, '_', '-'; and not 'latest' or 'v1'"
    yield from ((f"gates.{name}", fault) for name, fault in gate_faults(params.gates))
