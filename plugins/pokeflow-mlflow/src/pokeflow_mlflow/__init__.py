"""MLflow: a run there for every task that was carried out, and a registered version for every finished model.

Nothing heavy is imported here: MLflow is loaded when the first task is tracked or registered.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow import Backend, Result, Task, hookimpl
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


@dataclass(frozen=True, slots=True)
class MigrateParams:
    """Where existing experiments lie, and the store that they are brought into.

    ``source`` is a folder, ``sqlite:///…``, ``http(s)://…`` or ``s3://…``; relative ones begin at ``base``.
    ``experiments`` gives other names by id or name, null leaves one out. ``artifacts`` says where addresses of
    artifacts lead now. ``endpoint`` and ``region`` are of the store, ``source_…`` of a source on S3.
    """

    source: str
    uri: str
    base: str = "."
    experiments: dict[str, str | None] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    endpoint: str | None = None
    region: str | None = None
    source_endpoint: str | None = None
    source_region: str | None = None
    dry_run: bool = False


def _check_track(params: TrackParams) -> Iterable[tuple[str, str]]:
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


def _check_register(params: RegisterParams) -> Iterable[tuple[str, str]]:
    yield from (("uri", fault) for fault in faults(params.uri))
    yield from (("registry_uri", fault) for fault in faults(params.registry_uri or params.uri) if params.registry_uri)
    if not params.experiment:
        yield "experiment", "is empty"
    # MLflow's rules; it keeps "latest" and names like v1 for itself.
    if not re.fullmatch(r"(?!(latest|[vV]\d+)$)[\w-]{1,255}", params.alias):
        yield "alias", f"{params.alias!r} is no alias: letters, digits, '_', '-'; and not 'latest' or 'v1'"
    yield from ((f"gates.{name}", fault) for name, fault in gate_faults(params.gates))


def _check_migrate(params: MigrateParams) -> Iterable[tuple[str, str]]:
    from pokeflow_mlflow.migrate import sources

    found = [("uri", fault) for fault in faults(params.uri)]
    found += [(f"experiments.{key}", "is empty") for key, name in params.experiments.items() if name == ""]
    return found + list(sources.faults(params))


def _track(task: Task) -> Result:
    from pokeflow_mlflow import track

    return track.run(task)


def _register(task: Task) -> Result:
    from pokeflow_mlflow import register

    return register.run(task)


def _migrate(task: Task) -> Result:
    from pokeflow_mlflow.migrate import run

    return run.run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Track (for ``tracking=mlflow``), register and migrate, all named ``mlflow``."""
    return [
        Backend("mlflow", "track", _track, TrackParams, check=_check_track),
        Backend("mlflow", "register", _register, RegisterParams, revision="2", check=_check_register, named=True),
        Backend("mlflow", "migrate", _migrate, MigrateParams, check=_check_migrate),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``tracking=mlflow`` lies."""
    return "pokeflow_mlflow.conf"
