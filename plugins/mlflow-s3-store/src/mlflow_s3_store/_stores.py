"""MLflow's stores for the scheme ``s3``: its own SQL stores, on a working copy of a bucket."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.protos.databricks_pb2 import ErrorCode as Codes
from mlflow.store.db.utils import create_sqlalchemy_engine_with_retry
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistry
from mlflow.store.tracking.dbmodels.models import SqlRun
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTracking
from mlflow.utils.time import get_current_time_millis
from mlflow.utils.validation import _validate_experiment_name, _validate_experiment_tag

from mlflow_s3_store import _publish as publish
from mlflow_s3_store import _refresh as refresh
from mlflow_s3_store._forks import close_before_fork, in_use
from mlflow_s3_store._layout import quote
from mlflow_s3_store._replica import cache_folder
from mlflow_s3_store._schema import EXPERIMENTS, REGISTERED, SEPARATOR
from mlflow_s3_store._synchronizer import Synchronizer, refresher_for, synchronizer
from pokeflow.errors import PokeflowError

_MISSING = Codes.Name(RESOURCE_DOES_NOT_EXIST)


AT_ONCE = frozenset({
    "delete_experiment", "restore_experiment", "rename_experiment", "delete_run", "restore_run",
    "finalize_logged_model", "create_registered_model", "update_registered_model", "rename_registered_model",
    "delete_registered_model", "create_model_version", "update_model_version", "delete_model_version",
    "transition_model_version_stage", "set_registered_model_alias", "delete_registered_model_alias",
})  # fmt: skip
"""Calls that publish their changes before they return; other changes are published at the next interval."""


PRIVATE = ("_search_datasets", "_get_deleted_runs", "_get_deleted_logged_models")
"""Private methods that MLflow's client, server and ``mlflow gc`` call nevertheless."""


def _synchronize(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method of a store: refresh the data that it needs before, and publish its changes after the call."""
    signature, refresh_data = inspect.signature(method), refresher_for(name)

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        sync: Synchronizer = self.synchronizer
        if sync.nest(0):
            # Another call of this store is in progress in this thread and may have locked the database.
            return method(self, *args, **kwargs)
        with in_use():
            return outermost(self, sync, args, kwargs)

    def outermost(self: Any, sync: Synchronizer, args: Any, kwargs: Any) -> Any:
        try:
            sync.nest(+1)
            bound = signature.bind(self, *args, **kwargs)
            refresh_data(sync, bound.arguments)
            try:
                result = method(self, *args, **kwargs)
            except MlflowException as error:
                if error.error_code != _MISSING:
                    raise
                sync.refresh_all()  # another machine may have created it since
                result = method(self, *args, **kwargs)
            is_ended = name == "update_run_info" and bound.arguments.get("end_time")
            if name in AT_ONCE or is_ended:
                sync.flusher.flush_soon()
        finally:
            sync.nest(-1)
        return result

    return call


def _all_methods(store: type) -> dict[str, Callable[..., Any]]:
    names = (name for name in dir(store) if not name.startswith("_") or name in PRIVATE)
    return {name: method for name in names if inspect.isfunction(method := getattr(store, name))}


class _OnWorkingCopy:
    """Common part of both stores: the working copy, and its synchronizer with the bucket."""

    _uri: str
    _folder: Path

    @property
    def synchronizer(self) -> Synchronizer:
        """The synchronizer of this process."""
        return synchronizer(self._uri, self._folder, os.getpid())

    @contextmanager
    def _open(self, uri: str) -> Iterator[str]:
        """Yield the URI of the working copy while a store opens it; raise an MlflowException if there is none."""
        try:
            self._uri, self._folder = uri.rstrip("/"), cache_folder()
            sync = self.synchronizer
        except (PokeflowError, OSError) as error:
            raise MlflowException(str(error)) from None
        sync.nest(+1)
        try:
            with in_use():
                yield f"sqlite:///{sync.replica.copy.file.as_posix()}"
        finally:
            sync.nest(-1)

    @classmethod
    def _get_or_create_engine(cls, db_uri: str) -> Any:
        """Return the engine of a working copy, which MLflow's other stores in this process do not share."""
        return _engine(db_uri)


@functools.cache
def _engine(db_uri: str) -> Any:
    engine = create_sqlalchemy_engine_with_retry(db_uri)

    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        # A transaction takes the write lock when it begins: SQLite could refuse it after the first read.
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA synchronous = NORMAL")

    engine.dispose()  # closes connections that were opened before the listener existed
    close_before_fork(engine.dispose)
    return engine


class S3TrackingStore(_OnWorkingCopy, SqlTracking):
    """MLflow's tracking store on ``s3://bucket/prefix``."""

    def __init__(self, store_uri: str, artifact_uri: str | None = None) -> None:
        with self._open(store_uri) as database:
            # A server that proxies artifacts would keep them on its own disk; in the bucket all clients find them.
            is_proxied = (artifact_uri or "").startswith("mlflow-artifacts:")
            super().__init__(database, self._uri if is_proxied or not artifact_uri else artifact_uri)

    def _get_artifact_location(self, experiment_id: Any) -> str:
        return f"{self.synchronizer.replica.uri}/{'Default' if str(experiment_id) == '0' else experiment_id}"

    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Any = None) -> str:
        """Create an experiment directly in the bucket, so that a name is used only once by all machines.

        Raises:
            MlflowException: If the name is taken, perhaps by another machine, or the bucket is unreachable.

        """
        _validate_experiment_name(name)
        for tag in tags or ():
            _validate_experiment_tag(tag.key, tag.value)
        now = get_current_time_millis()
        head = {
            "name": name,
            "artifact_location": artifact_location,
            "lifecycle_stage": LifecycleStage.ACTIVE,
            "creation_time": now,
            "last_update_time": now,
            "workspace": self._get_active_workspace(),
        }
        replica = self.synchronizer.replica
        try:
            document = None
            if not replica.copy.has_experiment(name):
                labels = {tag.key: tag.value for tag in tags or ()}
                document = publish.claim_experiment(replica, head, labels, self.artifact_root_uri.rstrip("/"))
            if document is None:
                refresh.refresh(replica, EXPERIMENTS)
        except PokeflowError as error:
            raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from None
        if document is None:
            raise MlflowException(f"Experiment(name={name}) already exists.", RESOURCE_ALREADY_EXISTS)
        return document.id

    def create_run(self, experiment_id: str, *args: Any, **kwargs: Any) -> Any:
        """Create a run; its artifacts are stored in its folder, unless the experiment has its own artifact location."""
        run = super().create_run(experiment_id, *args, **kwargs)
        snapshot = self.synchronizer.replica.copy.last_seen(EXPERIMENTS, str(experiment_id))
        folder, _, suffix = run.info.artifact_uri.rpartition(f"/{run.info.run_id}")
        home = f"{self.synchronizer.replica.uri}/{snapshot.path.home if snapshot else 'Default'}"
        if folder != home:
            return run
        with self.ManagedSessionMaker(read_only=False) as session:
            session.get(SqlRun, run.info.run_id).artifact_uri = f"{folder}/run_{quote(run.info.run_id)}{suffix}"
        return self.get_run(run.info.run_id)


class S3RegistryStore(_OnWorkingCopy, SqlRegistry):
    """MLflow's model registry on ``s3://bucket/prefix``."""

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        with self._open(store_uri) as database:
            super().__init__(database)

    def create_registered_model(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Create a registered model in the bucket, so that a name is used only once by all machines.

        Raises:
            MlflowException: If the name is taken, perhaps by another machine, or the bucket is unreachable.

        """
        model = super().create_registered_model(name, *args, **kwargs)
        if not self._publish(name):
            self.delete_registered_model(name)
            raise self._unavailable(f"registered model {name!r} was not created")
        if self.get_registered_model(name).creation_timestamp != model.creation_timestamp:
            raise MlflowException(f"Registered Model (name={name}) already exists.", RESOURCE_ALREADY_EXISTS)
        return model

    def create_model_version(self, name: str, source: str, *args: Any, **kwargs: Any) -> Any:
        """Create a model version in the bucket, so that its number is used for no other version.

        Raises:
            MlflowException: If the bucket is unreachable.

        """
        version = super().create_model_version(name, source, *args, **kwargs)
        published = self._publish(name)
        # The machine that published the number first keeps it; this version then has the next free one.
        number = self.synchronizer.replica.copy.version_of(name, version.creation_timestamp, source, version.run_id)
        if not published:
            self.delete_model_version(name, str(number or version.version))
            raise self._unavailable(f"no version of {name!r} was created")
        return self.get_model_version(name, str(number)) if number and number != int(version.version) else version

    def _publish(self, name: str) -> bool:
        return self.synchronizer.flusher.publish_now(REGISTERED, SEPARATOR.join((self._get_active_workspace(), name)))

    def _unavailable(self, consequence: str) -> MlflowException:
        return MlflowException(
            f"{self._uri}: the bucket is not writable at the moment, so {consequence}. Try again later.",
            TEMPORARILY_UNAVAILABLE,
        )


for _store in (S3TrackingStore, S3RegistryStore):
    for _name, _method in _all_methods(_store).items():
        setattr(_store, _name, _synchronize(_name, _method))
