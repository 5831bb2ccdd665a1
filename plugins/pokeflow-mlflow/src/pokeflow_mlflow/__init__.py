"""MLflow: a run there for every task that was carried out, and a registered version for every finished model.

Nothing heavy is imported here: MLflow is loaded when the first task is tracked or registered.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pokeflow import Backend, Result, Task, hookimpl
from pokeflow_mlflow.address import faults


@dataclass(frozen=True, slots=True)
class TrackParams:
    """Where runs are kept, and under which experiments.

    ``uri`` is ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or a server's ``http(s)://``.
    ``experiments`` maps a model to its experiment; all else goes to the one named ``project``.
    Small text files of a result are logged with its run; ``log_artifacts`` has every file logged.
    """

    uri: str
    project: str = "pokeflow"
    experiments: dict[str, str] = field(default_factory=dict)
    log_artifacts: bool = False


@dataclass(frozen=True, slots=True)
class RegisterParams:
    """Which registry a model goes to, and what of it.

    ``registry_uri`` is given where the registry is not at ``uri`` itself. ``experiment`` holds models
    whose making was not tracked. ``description`` stands in front of what the records say.
    ``without`` are patterns of files that stay behind: training checkpoints serve nobody who loads a model.
    """

    uri: str
    registry_uri: str | None = None
    experiment: str = "registered-models"
    description: str = ""
    without: tuple[str, ...] = ("*.pt",)


def _check_track(params: TrackParams) -> Iterable[tuple[str, str]]:
    yield from (("uri", fault) for fault in faults(params.uri))
    if not params.project:
        yield "project", "is empty; it names the experiment of what has none of its own"
    yield from ((f"experiments.{model}", "is empty") for model, name in params.experiments.items() if not name)


def _check_register(params: RegisterParams) -> Iterable[tuple[str, str]]:
    yield from (("uri", fault) for fault in faults(params.uri))
    yield from (("registry_uri", fault) for fault in faults(params.registry_uri or params.uri) if params.registry_uri)
    if not params.experiment:
        yield "experiment", "is empty"


def _track(task: Task) -> Result:
    from pokeflow_mlflow import track

    return track.run(task)


def _register(task: Task) -> Result:
    from pokeflow_mlflow import register

    return register.run(task)


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Track (for ``tracking=mlflow``) and register, both named ``mlflow``."""
    return [
        Backend("mlflow", "track", _track, TrackParams, check=_check_track),
        Backend("mlflow", "register", _register, RegisterParams, check=_check_register, named=True),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Where ``tracking=mlflow`` lies."""
    return "pokeflow_mlflow.conf"
