"""Machines that share a bucket prefix, each with its own working copy."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlflow_s3_store import _flusher as flusher
from mlflow_s3_store import _refresh as refresh
from mlflow_s3_store import _replica as replica
from mlflow_s3_store import _settings as settings
from mlflow_s3_store import _synchronizer as synchronizer
from mlflow_s3_store._stores import S3RegistryStore, S3TrackingStore
from pokeflow_testkit.s3 import Server


@dataclass(frozen=True)
class Machine:
    """Both stores on one working copy; nothing is published without a call of ``flush``."""

    tracking: S3TrackingStore
    registry: S3RegistryStore

    @property
    def sync(self) -> synchronizer.Synchronizer:
        return self.tracking.synchronizer

    @property
    def copy(self) -> Any:
        return self.sync.replica.copy

    def flush(self) -> None:
        assert self.sync.flusher.flush()

    def refresh(self) -> int:
        return refresh.refresh_all(self.sync.replica)


Machines = Callable[[str], Machine]


@pytest.fixture(scope="session")
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the migrated empty database; the migrations take seconds."""
    folder = tmp_path_factory.mktemp("cache")
    replica._template(folder)
    return folder


@pytest.fixture
def cache(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that sets the cache of the named machine and returns its folder."""

    def of(name: str) -> Path:
        folder = tmp_path / f"machine-{name}"
        if not folder.exists():
            shutil.copytree(empty_cache, folder)
        monkeypatch.setenv(settings.variable(settings.CACHE), str(folder))
        return folder

    return of


@pytest.fixture
def uri(s3: Server) -> str:
    return f"{s3.uri}/project/cards/experiments/mlflow"


@pytest.fixture
def machine(uri: str, cache: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Return a function that opens the stores of the named machine; one name is one machine."""
    monkeypatch.setenv(settings.variable(settings.FLUSH_SECONDS), "3600")
    monkeypatch.setenv(settings.variable(settings.FRESH_SECONDS), "0")
    synchronizer.synchronizer.cache_clear()

    def of(name: str) -> Machine:
        cache(name)
        return Machine(S3TrackingStore(uri), S3RegistryStore(uri))

    yield of
    # Nothing may be published at exit, because another test uses the bucket then.
    flusher._all.clear()
