"""A plugin for a pytest that runs MLflow's own tests: their SQL stores are ours on ``s3://``, everything else stays.

Each SQLite file that a test names stands for a place of its own in the bucket ``POKEFLOW_SUITE_BUCKET``; what the
file held already is not taken over, for in MLflow's tests it is an empty database.

With ``POKEFLOW_SUITE_REREAD`` set, each test ends with another machine reading its places from the bucket: a row of
MLflow's that is not the same there is a failure.
"""

import hashlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTracking

from mlflow_s3_store import _refresh as refresh
from mlflow_s3_store import _replica as replica
from mlflow_s3_store._schema import LOCAL
from mlflow_s3_store._stores import S3RegistryStore, S3TrackingStore


def _place(database: str) -> str:
    name = hashlib.sha256(database.encode()).hexdigest()[:16]
    return f"s3://{os.environ['POKEFLOW_SUITE_BUCKET']}/{name}"


opened: dict[str, S3TrackingStore | S3RegistryStore] = {}
"""A store of each place that the test at hand has opened."""


class Tracking(S3TrackingStore):
    """The tracking store, made as MLflow's tests make theirs."""

    def __init__(self, db_uri: str, default_artifact_root: str) -> None:
        super().__init__(_place(db_uri), default_artifact_root)
        opened[_place(db_uri)] = self


class Registry(S3RegistryStore):
    """The model registry, made as MLflow's tests make theirs."""

    def __init__(self, db_uri: str) -> None:
        super().__init__(_place(db_uri))
        opened[_place(db_uri)] = self


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


@pytest.fixture(autouse=True)
def read_by_another_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After a test, compare what its machine holds with what another one finds in the bucket."""
    opened.clear()
    yield
    if os.environ.get("POKEFLOW_SUITE_REREAD"):
        for place, store in opened.items():
            _compare(place, store, tmp_path_factory.mktemp("machine"))


def _compare(place: str, store: S3TrackingStore | S3RegistryStore, cache: Path) -> None:
    synchronizer = store.synchronizer
    assert synchronizer.flusher.flush(), f"{place}: not published"
    for template in synchronizer.replica.copy.file.parent.glob("*.empty"):
        shutil.copy(template, cache)
    other = replica.open_replica(place, cache)
    refresh.refresh_all(other)
    here = rows(synchronizer.replica.copy.file)
    for run in {row["run_uuid"] for row in map(dict, here.get("runs", ()))}:
        refresh.histories(other, run)
    there = rows(other.copy.file)
    for table in here:
        lost, odd = here[table] - there[table], there[table] - here[table]
        assert not lost | odd, f"{table}: only here {sorted(lost)[:2]}, only there {sorted(odd)[:2]}"


Row = tuple[tuple[str, Any], ...]


def rows(database: Path) -> dict[str, set[Row]]:
    """The rows of MLflow's shared tables but the experiment that every machine begins with."""
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for name in sorted(names):
            if name not in LOCAL and not name.startswith("pokeflow_"):
                cursor = connection.execute(f'SELECT * FROM "{name}"')
                columns = [column for column, *_ in cursor.description]
                found[name] = {tuple(zip(columns, row, strict=True)) for row in cursor}
        found["experiments"] = {row for row in found["experiments"] if ("experiment_id", 0) not in row}
    return found
