"""A plugin for a pytest that runs MLflow's own tests: their SQL stores are ours on ``s3://``, everything else stays.

Each SQLite file that a test names stands for a place of its own in the bucket ``POKEFLOW_SUITE_BUCKET``; what the
file held already is not taken over, for in MLflow's tests it is an empty database.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTracking

from pokeflow_mlflow.replica.stores import S3RegistryStore, S3TrackingStore


def _place(database: str) -> str:
    name = hashlib.sha256(database.encode()).hexdigest()[:16]
    return f"s3://{os.environ['POKEFLOW_SUITE_BUCKET']}/{name}"


class Tracking(S3TrackingStore):
    """The tracking store, made as MLflow's tests make theirs."""

    def __init__(self, db_uri: str, default_artifact_root: str) -> None:
        super().__init__(_place(db_uri), default_artifact_root)


class Registry(S3RegistryStore):
    """The model registry, made as MLflow's tests make theirs."""

    def __init__(self, db_uri: str) -> None:
        super().__init__(_place(db_uri))


SWAPPED = {SqlTracking: Tracking, SqlRegistry: Registry}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Put our stores where MLflow's test modules, read by now, have imported theirs."""
    inside = config.rootpath / "tests"
    swapped = 0
    for module in {id(m): m for m in [*sys.modules.values(), *config.pluginmanager.get_plugins()]}.values():
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(inside):
            swapped += _swap(vars(module))
    if not swapped:
        raise pytest.UsageError(f"{inside}: no test names one of MLflow's SQL stores.")


def _swap(names: dict[str, Any]) -> int:
    found = [name for name, value in names.items() if isinstance(value, type) and value in SWAPPED]
    for name in found:
        names[name] = SWAPPED[names[name]]
    return len(found)
