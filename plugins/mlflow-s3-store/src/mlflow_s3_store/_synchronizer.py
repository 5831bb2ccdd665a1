"""Refreshing of a store from the bucket before it answers: only the data it needs, and only if they are not fresh."""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from mlflow_s3_store import _refresh as refresh
from mlflow_s3_store._flusher import SHARE, Flusher, flush_on_exit
from mlflow_s3_store._replica import Replica, open_replica
from mlflow_s3_store._schema import DATASETS, EXPERIMENTS, MODELS, REGISTERED, RUNS, TRACES
from mlflow_s3_store._settings import FRESH_SECONDS, seconds
from pokeflow.errors import PokeflowError

log = logging.getLogger(__package__)
OUTAGE_PAUSE_SECONDS = 60.0
"""Seconds without refreshes after the bucket did not respond."""
MAX_REMEMBERED = 10_000
"""Largest number of items whose freshness is remembered."""


class Synchronizer:
    """A synchronizer of a store with its bucket: it refreshes data before they are read, and publishes changes."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.flusher = Flusher(replica)
        self._until: dict[object, float] = {}
        self._locks: dict[object, Any] = {}
        self._lock, self._paused_until = threading.Lock(), 0.0
        self._depth = threading.local()
        self._seconds = seconds(FRESH_SECONDS, 2)

    def nest(self, change: int) -> int:
        """Add ``change`` to the depth of nested calls of the store in this thread, and return the depth."""
        self._depth.value = getattr(self._depth, "value", 0) + change
        return int(self._depth.value)

    def ensure_fresh(self, item: object, refresh_item: Callable[[], object]) -> None:
        """Refresh an item unless it is still fresh; log a warning if the bucket is unreachable.

        An item that takes long to refresh counts as fresh for ten times as long.

        Args:
            item: The key under which the item's freshness is remembered.
            refresh_item: The function that refreshes the item.

        Raises:
            MlflowException: If the bucket is unreachable, and the working copy is empty.

        """
        with self._lock:
            lock = self._locks.setdefault(item, threading.RLock())
        with lock:
            began = time.monotonic()
            if began < max(self._until.get(item, 0.0), self._paused_until):
                return
            try:
                refresh_item()
            except PokeflowError as error:
                if self.replica.copy.is_empty():
                    raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from None
                log.warning("the bucket is unreachable; using the working copy: %s", error)
                self._paused_until = time.monotonic() + OUTAGE_PAUSE_SECONDS
            now = time.monotonic()
            # With a setting of 0 seconds the item is never fresh.
            self._until[item] = now + (self._seconds and max(self._seconds, SHARE * (now - began)))
        if len(self._until) > MAX_REMEMBERED:
            with self._lock:
                self._until = {key: until for key, until in self._until.items() if until > now}
                self._locks = {key: lock for key, lock in self._locks.items() if key in self._until}

    def synchronize(self) -> None:
        """Publish local changes, and expire the freshness of all items."""
        self.flusher.flush()
        self._until.clear()

    def refresh_all(self) -> None:
        """Bring everything up to date."""
        self.ensure_fresh("everything", lambda: refresh.refresh_all(self.replica))

    def refresh_experiments(self) -> None:
        """Bring the list of experiments up to date."""
        self.ensure_fresh(EXPERIMENTS, lambda: refresh.refresh(self.replica, EXPERIMENTS))

    def refresh_units(self, kind: str, experiments: Iterable[Any]) -> None:
        """Bring the units of a kind in some experiments up to date."""
        self.refresh_experiments()
        for identity in dict.fromkeys(map(str, experiments)):
            snapshot = self.replica.copy.last_seen(EXPERIMENTS, identity)
            if snapshot:
                home = snapshot.path.home
                self.ensure_fresh((kind, home), functools.partial(refresh.refresh, self.replica, kind, home))

    def refresh_unit(self, kind: str, identity: str) -> None:
        """Bring one unit up to date."""
        self.ensure_fresh((kind, identity), lambda: refresh.refresh_unit(self.replica, kind, identity))

    def refresh_rest(self) -> None:
        """Bring all units that belong to no experiment up to date."""
        self.ensure_fresh("rest", lambda: refresh.refresh_rest(self.replica))


Arguments = Mapping[str, Any]
Refresher = Callable[[Synchronizer, Arguments], None]


def _refresh_nothing(sync: Synchronizer, arguments: Arguments) -> None:
    """Refresh nothing before a write.

    If the store does not find the object, everything is refreshed and the call is repeated.
    """


def _refresh_experiments(sync: Synchronizer, arguments: Arguments) -> None:
    sync.refresh_experiments()


def _refresh_rest(sync: Synchronizer, arguments: Arguments) -> None:
    sync.refresh_rest()


def _refresh_registry(sync: Synchronizer, arguments: Arguments) -> None:
    sync.ensure_fresh(REGISTERED, lambda: refresh.refresh(sync.replica, REGISTERED))


def _refresh_run(sync: Synchronizer, arguments: Arguments) -> None:
    run = str(arguments["run_id"])
    sync.refresh_unit(RUNS, run)
    experiment = sync.replica.copy.experiment_of(RUNS, run)
    if experiment:
        sync.refresh_units(DATASETS, [experiment])


def _refresh_history(sync: Synchronizer, arguments: Arguments) -> None:
    metric = arguments.get("metric_key")
    for run in (*(arguments.get("run_ids") or ()), *filter(None, [arguments.get("run_id")])):
        sync.refresh_unit(RUNS, run)
        sync.ensure_fresh((RUNS, run, metric), _histories_refresher(sync, run, [metric] if metric else None))


def _refresher_in_experiments(*kinds: str) -> Refresher:
    """Return a function that refreshes units of some kinds in the experiments of a call, by default in all."""

    def refresh_units(sync: Synchronizer, arguments: Arguments) -> None:
        experiment = arguments.get("experiment_id")
        experiments = (
            arguments.get("experiment_ids")
            or arguments.get("locations")
            or ([experiment] if experiment is not None else None)
        )
        sync.refresh_experiments()
        for kind in kinds:
            sync.refresh_units(kind, experiments or sync.replica.copy.experiments())

    return refresh_units


def _refresher_by_id(kind: str, name: str) -> Refresher:
    def refresh_unit(sync: Synchronizer, arguments: Arguments) -> None:
        sync.refresh_unit(kind, str(arguments[name]))

    return refresh_unit


_REFRESHERS: Mapping[str, Refresher] = {
    **dict.fromkeys(("get_run", "update_run_info", "delete_run", "restore_run"), _refresh_run),
    "search_runs": _refresher_in_experiments(DATASETS, RUNS),
    "_get_deleted_runs": _refresher_in_experiments(RUNS),
    "_search_datasets": _refresher_in_experiments(DATASETS),
    "get_logged_model": _refresher_by_id(MODELS, "model_id"),
    "search_logged_models": _refresher_in_experiments(MODELS),
    "_get_deleted_logged_models": _refresher_in_experiments(MODELS),
    **dict.fromkeys(("get_trace", "get_trace_info", "get_assessment"), _refresher_by_id(TRACES, "trace_id")),
    **dict.fromkeys(
        ("search_traces", "delete_traces", "query_trace_metrics", "find_completed_sessions", "batch_get_traces",
         "batch_get_trace_infos", "calculate_trace_filter_correlation", "archive_traces"),
        _refresher_in_experiments(TRACES),
    ),
    **dict.fromkeys(("delete_experiment", "restore_experiment"), _refresher_in_experiments(RUNS, MODELS)),
    **dict.fromkeys(
        ("get_experiment", "get_experiment_by_name", "search_experiments", "rename_experiment", "create_run",
         "create_experiment", "filter_active_experiment_ids"),
        _refresh_experiments,
    ),
}  # fmt: skip
_WRITES = (
    "log_", "set_", "start_", "end_", "link_", "record_", "create_", "update_", "finalize_", "deprecated_", "flush_",
    "shut_down_", "sanitize_", "delete_tag", "delete_trace_tag", "delete_assessment", "delete_logged_model",
)  # fmt: skip
_REGISTRY = ("registered_model", "model_version", "latest_versions", "model_versions")


def refresher_for(name: str) -> Refresher:
    """Return the function that refreshes the data a store's method needs, by the method's name."""
    if name in _REFRESHERS:
        return _REFRESHERS[name]
    if any(word in name for word in _REGISTRY):
        return _refresh_registry
    if "metric_history" in name or name == "get_max_step_for_metric":
        return _refresh_history
    return _refresh_nothing if name.startswith(_WRITES) else _refresh_rest


def _histories_refresher(sync: Synchronizer, run: str, metrics: list[str] | None) -> Callable[[], None]:
    return lambda: refresh.histories(sync.replica, run, metrics)


@functools.lru_cache(maxsize=16)
def synchronizer(uri: str, folder: Path, _process: int) -> Synchronizer:
    """Return the synchronizer of a tracking URI and a folder of working copies, one for each process."""
    flush_on_exit()
    return Synchronizer(open_replica(uri, folder))
