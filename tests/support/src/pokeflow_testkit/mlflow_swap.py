"""A plugin for a pytest that runs MLflow's own tests: their SQL stores are ours on ``s3://``, everything else stays.

Each SQLite file that a test names becomes a prefix in the bucket ``POKEFLOW_SUITE_BUCKET``; the content of the
file is not copied, as it is an empty database in MLflow's tests.

With ``POKEFLOW_SUITE_REREAD`` set, another machine reads the prefixes of a test from the bucket at its end: a row of
MLflow's that differs there is a failure.
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


def _address(database: str) -> str:
    name = hashlib.sha256(database.encode()).hexdigest()[:16]
    return f"s3://{os.environ['POKEFLOW_SUITE_BUCKET']}/{name}"


opened: dict[str, S3TrackingStore | S3RegistryStore] = {}
"""The stores that the current test has opened, by address."""


class Tracking(S3TrackingStore):
    """The tracking store, with the constructor that MLflow's tests call."""

    def __init__(self, db_uri: str, default_artifact_root: str) -> None:
        super().__init__(_address(db_uri), default_artifact_root)
        opened[_address(db_uri)] = self


class Registry(S3RegistryStore):
    """The model registry, with the constructor that MLflow's tests call."""

    def __init__(self, db_uri: str) -> None:
        super().__init__(_address(db_uri))
        opened[_address(db_uri)] = self


SWAPPED = {SqlTracking: Tracking, SqlRegistry: Registry}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Replace MLflow's stores by ours in its test modules, which are imported by now."""
    inside = config.rootpath / "tests"
    swapped = 0
    for module in {id(m): m for m in [*sys.modules.values(), *config.pluginmanager.get_plugins()]}.values():
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(inside):
            swapped += _swap(vars(module))
    if not swapped:
        raise pytest.UsageError(f"{inside}: no test names one of MLflow's SQL stores.")


def _swap(names: dict[str, Any]) -> int:
    matches = [name for name, value in names.items() if isinstance(value, type) and value in SWAPPED]
    for name in matches:
        names[name] = SWAPPED[names[name]]
    return len(matches)


@pytest.fixture(autouse=True)
def read_by_another_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After a test, compare the rows of its machine with those that another one reads from the bucket."""
    opened.clear()
    yield
    if os.environ.get("POKEFLOW_SUITE_REREAD"):
        for address, store in opened.items():
            _compare(address, store, tmp_path_factory.mktemp("machine"))


def _compare(address: str, store: S3TrackingStore | S3RegistryStore, cache: Path) -> None:
    synchronizer = store.synchronizer
    assert synchronizer.flusher.flush(), f"{address}: not published"
    for template in synchronizer.replica.copy.file.parent.glob("*.empty"):
        shutil.copy(template, cache)
    other = replica.open_replica(address, cache)
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
    """Return the rows of MLflow's shared tables, except the experiment that every machine has from the start."""
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        by_table = {}
        for name in sorted(names):
            if name not in LOCAL and not name.startswith("pokeflow_"):
                cursor = connection.execute(f'SELECT * FROM "{name}"')
                columns = [column for column, *_ in cursor.description]
                by_table[name] = {tuple(zip(columns, row, strict=True)) for row in cursor}
        by_table["experiments"] = {row for row in by_table["experiments"] if ("experiment_id", 0) not in row}
    return by_table
