"""Parameters of the stages ``track`` and ``register``, and the checks that run before any stage starts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow.gates import Gate
from pokeflow.gates import faults as gate_faults
from pokeflow_mlflow.address import faults, is_server


@dataclass(frozen=True, slots=True)
class TrackParams:
    """Parameters of the stage ``track``: the tracking store, the experiments and the files to log.

    Attributes:
        uri: The tracking store: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a server's ``http(s)://``,
            ``s3://bucket/prefix`` or the ARN of SageMaker's managed MLflow.
        project: The experiment of all runs that ``experiments`` does not assign.
        experiments: The experiment by model; it holds the runs of the tasks that produce this model.
        log_artifacts: Log every file. By default small text files, embeddings and TensorBoard's files are logged;
            all other files are only listed in ``links.json``.
        file_mb: Largest size, in MB, of an embeddings file or a TensorBoard file that is logged by default.
        rows: Largest number of rows logged from each file of a task's telemetry, spread evenly; None means all.
        endpoint: The endpoint of an S3 server other than AWS's.
        region: The region of the S3 server.

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
    """Parameters of the stage ``register``: the model registry, the files to upload and the gates.

    Attributes:
        uri: The tracking store that holds the logged model with its files.
        registry_uri: The model registry, if it is not at ``uri``.
        experiment: The experiment of logged models whose producing task was not tracked.
        description: Text in front of the description that is generated from the records.
        without: Patterns of files that are not uploaded. Checkpoints, calibration pictures and a compiler's archive
            are of no use to anyone who loads a model.
        alias: The alias of the newest version whose figures pass all gates. Without gates no version is approved,
            and the alias does not change.
        gates: The gates by the names of figures.
        endpoint: The endpoint of an S3 server other than AWS's.
        region: The region of the S3 server.

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
    """Yield (parameter, error) for every invalid parameter of the stage ``track``."""
    yield from (("uri", fault) for fault in faults(params.uri))
    if not params.project:
        yield "project", "is empty; set the experiment of all runs that 'experiments' does not assign"
    yield from (
        (f"experiments.{model}", "is empty; name an experiment")
        for model, name in params.experiments.items()
        if not name
    )
    if not params.file_mb >= 0:
        yield "file_mb", f"{params.file_mb} is below 0"
    if params.rows is not None and params.rows < 1:
        yield "rows", f"{params.rows} is below 1; use null to log all rows"
    if params.endpoint is not None and not is_server(params.endpoint):
        yield "endpoint", "is not the URL of a server: use http://host:port or https://host, without credentials"


def check_register(params: RegisterParams) -> Iterable[tuple[str, str]]:
    """Yield (parameter, error) for every invalid parameter of the stage ``register``."""
    yield from (("uri", fault) for fault in faults(params.uri))
    yield from (("registry_uri", fault) for fault in faults(params.registry_uri or params.uri) if params.registry_uri)
    if not params.experiment:
        yield "experiment", "is empty; name an experiment"
    # MLflow's rules for aliases; it reserves "latest" and names like v1.
    if not re.fullmatch(r"(?!(latest|[vV]\d+)$)[\w-]{1,255}", params.alias):
        yield (
            "alias",
            f"{params.alias!r} is not a valid alias: use letters, digits, '_' and '-', but not 'latest' or "
            "a name like 'v1'",
        )
    yield from ((f"gates.{name}", fault) for name, fault in gate_faults(params.gates))
