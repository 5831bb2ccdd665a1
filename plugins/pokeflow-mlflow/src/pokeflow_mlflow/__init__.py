"""MLflow backends: a run for every executed task, and a registered model version for every finished model.

This module imports nothing heavy: MLflow is loaded when the first task is tracked or registered.
"""

from collections.abc import Iterable

from pokeflow import Backend, hookimpl


@hookimpl
def pokeflow_backends() -> Iterable[Backend]:
    """Return the backends of the stages ``track`` (for ``tracking=mlflow``) and ``register``, both named ``mlflow``."""
    return [
        Backend(
            "mlflow",
            "track",
            run="pokeflow_mlflow.stages.track:run",
            params="pokeflow_mlflow.params:TrackParams",
            check="pokeflow_mlflow.params:check_track",
        ),
        Backend(
            "mlflow",
            "register",
            run="pokeflow_mlflow.stages.register:run",
            params="pokeflow_mlflow.params:RegisterParams",
            revision="2",
            check="pokeflow_mlflow.params:check_register",
            identity_in_digest=True,
        ),
    ]


@hookimpl
def pokeflow_config_package() -> str:
    """Return the package that holds the configurations ``tracking=mlflow`` and ``registry=mlflow``."""
    return "pokeflow_mlflow.conf"
