"""When a store asks the bucket: before it answers, about what the question is about, and not twice in a moment."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from pokeflow.errors import PokeflowError
from pokeflow_mlflow.replica import refresh
from pokeflow_mlflow.replica.flusher import Flusher, watch_the_end
from pokeflow_mlflow.replica.replica import Replica, of
from pokeflow_mlflow.replica.schema import DATASETS, EXPERIMENTS, MODELS, REGISTERED, RUNS, TRACES

log = logging.getLogger("pokeflow_mlflow")
FRESH = "POKEFLOW_MLFLOW_FRESH_SECONDS"
"""Variable with the seconds for which what was read from the bucket counts as fresh; 2 if it is not set."""
AWAY = 30.0
"""Seconds for which a bucket that did not answer is not asked again."""


class Synchronizer:
    """Lets a store answer with what the bucket holds, and the bucket hold what the store was told."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.flusher = Flusher(replica)
        self._fresh: dict[object, float] = {}
        self._one = threading.RLock()
        self._depth = threading.local()
        self._seconds = float(os.environ.get(FRESH) or 2)

    def within(self, change: int) -> int:
        """How deep this thread is in calls of the store, after it went ``change`` deeper."""
        self._depth.value = getattr(self._depth, "value", 0) + change
        return int(self._depth.value)

    def fresh(self, what: object, bring: Callable[[], object]) -> None:
        """Bring something up to date unless it just was; a bucket that is away is a warning if something is here."""
        with self._one:
            if time.monotonic() - self._fresh.get(what, -self._seconds) < self._seconds:
                return
            try:
                bring()
            except PokeflowError as error:
                if self.replica.copy.is_empty():
                    raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from None
                log.warning("answered from the working copy, for the bucket is away: %s", error)
                self._fresh[what] = time.monotonic() + AWAY
            else:
                self._fresh[what] = time.monotonic()

    def everything(self) -> None:
        """Bring everything up to date."""
        with self._one:
            try:
                refresh.refresh_all(self.replica)
            except PokeflowError as error:
                raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from None

    def experiments(self) -> None:
        """Bring the list of experiments up to date."""
        self.fresh(EXPERIMENTS, lambda: refresh.refresh(self.replica, EXPERIMENTS))

    def units(self, kind: str, experiments: Iterable[Any]) -> None:
        """Bring the units of a kind in some experiments up to date."""
        self.experiments()
        for identity in dict.fromkeys(map(str, experiments)):
            known = self.replica.copy.known(EXPERIMENTS, identity)
            if known:
                home = known.place.home
                self.fresh((kind, home), functools.partial(refresh.refresh, self.replica, kind, home))

    def unit(self, kind: str, identity: str) -> None:
        """Bring one unit up to date."""
        self.fresh((kind, identity), lambda: refresh.refresh_unit(self.replica, kind, identity))

    def rest(self) -> None:
        """Bring up to date what belongs to no experiment."""
        self.fresh("rest", lambda: refresh.refresh_rest(self.replica))


def bring(sync: Synchronizer, name: str, given: Mapping[str, Any]) -> None:
    """Bring up to date what a call of a store is about, by the method's name and what it was given."""
    one = given.get("experiment_id")
    several = given.get("experiment_ids") or given.get("locations") or ([one] if one is not None else None)
    run, runs = given.get("run_id"), given.get("run_ids") or ()
    if name.startswith(("log_", "set_", "delete_tag", "record_")):
        return  # what is written needs no news; what is not known here is looked for when the store misses it
    if "metric_history" in name or name == "get_max_step_for_metric":
        metric = given.get("metric_key")
        for each in [*runs, *filter(None, [run])]:
            sync.unit(RUNS, each)
            sync.fresh((RUNS, each, metric), _histories(sync, each, [metric] if metric else None))
    elif "trace" in name or "assessment" in name or "session" in name or "span" in name:
        sync.units(TRACES, several or sync.replica.copy.experiments())
    elif name in ("get_run", "update_run_info", "delete_run", "restore_run"):
        sync.unit(RUNS, str(run))
    elif name == "search_runs":
        for kind in (DATASETS, RUNS):
            sync.units(kind, several or ())
    elif "logged_model" in name:
        sync.units(MODELS, several or ()) if several else sync.unit(MODELS, str(given.get("model_id")))
    elif name == "_search_datasets":
        sync.units(DATASETS, several or ())
    elif "experiment" in name or name == "create_run":
        sync.experiments()
    elif "registered_model" in name or "model_version" in name or "latest_versions" in name:
        sync.fresh(REGISTERED, lambda: refresh.refresh(sync.replica, REGISTERED))
    else:
        sync.rest()


def _histories(sync: Synchronizer, run: str, metrics: list[str] | None) -> Callable[[], None]:
    return lambda: refresh.histories(sync.replica, run, metrics)


@functools.lru_cache(maxsize=16)
def synchronizer(uri: str, folder: Path, _process: int) -> Synchronizer:
    """The synchronizer of a tracking URI and a folder of working copies, one for each process."""
    watch_the_end()
    return Synchronizer(of(uri, folder))
