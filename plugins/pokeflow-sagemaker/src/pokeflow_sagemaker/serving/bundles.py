"""Selection of the bundle to serve: the newest in the store or of a model, with its registration if it has one."""

from collections.abc import Iterable
from dataclasses import dataclass

import pokeflow
from pokeflow import ConfigError, PokeflowError, Record, RemoteStore
from pokeflow.errors import unknown
from pokeflow.flow import Flow
from pokeflow.stages import REGISTER

BUNDLE, ARCHIVE = "bundle", "model.tar.gz"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished bundle, the bucket that holds it, and its newest registration, if it has one."""

    record: Record
    remote_store: RemoteStore | None
    registration: Record | None = None

    @property
    def uri(self) -> str:
        """URI of the archive in the bucket."""
        assert self.remote_store
        return f"{self.remote_store.uri}/{self.record.path}/{ARCHIVE}"


def newest(flow: Flow, model: str | None) -> Record:
    """Return the newest real bundle in the store, or the newest of a model.

    Raises:
        ConfigError: If no model with a bundle has this name.
        PokeflowError: If there is no bundle, or only simulated ones.

    """
    records = sorted(pokeflow.open_store(flow).shared_records(BUNDLE), key=lambda record: record.finished, reverse=True)
    models = {record.model for record in records}
    if model is not None and models and model not in models:
        raise ConfigError([unknown("model", "bundle of a model named", model, models)])
    candidates = [record for record in records if model in (None, record.model)]
    real = [record for record in candidates if not record.simulated]
    if candidates and not real:
        require_real(candidates[:1])
    if not real:
        location, setting = (flow.remote_store.uri, "store.remote") if flow.remote_store else (flow.root, "store.root")
        raise PokeflowError(
            f"{location}: no bundle yet. Create one with: pokeflow cloud=sagemaker 'stages=[bundle]'. Or name "
            f"the store that has one with {setting}=…"
        )
    return real[0]


def in_bucket(flow: Flow, model: str | None) -> Bundle:
    """Return the newest bundle with its registration, after checking that the bucket has it, since AWS reads it there.

    Raises:
        PokeflowError: If there is no bundle, the bucket lacks it, or it or its registration is simulated.

    """
    record, store = newest(flow, model), pokeflow.open_store(flow)
    if flow.remote_store:
        store.require_uploaded(record)
    registrations = [r for r in store.shared_records(REGISTER) if r.inputs.get(record.task) == record.content]
    registration = max(registrations, key=lambda r: r.finished, default=None)
    require_real(r for r in (record, registration) if r)
    return Bundle(record, flow.remote_store, registration)


def require_real(records: Iterable[Record]) -> None:
    """Raise a PokeflowError for records from a simulated compiler or device, whose results must not pass as real."""
    if simulated := [record.task for record in records if record.simulated]:
        raise PokeflowError(
            f"{', '.join(simulated)}: produced by a simulator and cannot be served. Run the task with the real "
            "compiler or device."
        )
