"""Checks of settings beyond types and backends: each function yields the faults of one aspect."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pokeflow import gates
from pokeflow.config.settings import Settings, Store
from pokeflow.errors import Fault, PokeflowError, unknown
from pokeflow.flow import Step
from pokeflow.objects import require_key
from pokeflow.plugins import Registry
from pokeflow.stages import DATA, PIPELINE, PREPARE
from pokeflow.types import TASKS, Budget

_ENDPOINT = re.compile(r"https?://[^\s@/?#]+(/[^\s@?#]*)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED = (
    *(TASKS, "work", "locks", "leases", "runs", "sweeps", "outbox", "migrations", "mlartifacts", ".pokeflow"),
    *("jobs", "registry"),
)
"""Folders that the store itself uses, so that a published tree cannot have their names."""


def validate(settings: Settings, steps: Mapping[str, Step], registry: Registry) -> Iterator[Fault]:
    """Yield all faults of parsed settings, even if other faults were reported already.

    Args:
        settings: The configuration; an invalid value is None and reported already.
        steps: The steps that could be built from it.
        registry: The installed backends, executors and commands.

    """
    yield from validate_selection(settings)
    yield from validate_gates(settings)
    yield from validate_budget(settings.project.budget_usd)
    yield from validate_root(settings.store.root)
    yield from validate_remote(settings.store)
    yield from validate_names(settings)
    if settings.store.remote is None:
        yield from validate_executors(steps, registry)


def stages(settings: Settings) -> set[str]:
    """Return all stages that the configuration names."""
    models = [model for model in (settings.lineage.models or {}).values() if model is not None]
    later = [stage for of in (settings.lineage.post_stages, *(m.post_stages for m in models)) for stage in of or ()]
    cloud_stages = {stage for stage in (PIPELINE,) if (settings.cloud or {}).get(stage)}
    return {PREPARE, *cloud_stages, *(model.stage for model in models if model.stage), *later}


def validate_selection(settings: Settings) -> Iterator[Fault]:
    """Yield faults for unknown models and stages that are selected, forced, or named by a sweep's objective."""
    models = {DATA, *(settings.lineage.models or ())}
    for path, kind, names, valid in (
        ("models", "model", settings.models, models),
        ("force", "model", settings.force, models),
        ("stages", "stage", settings.stages, stages(settings)),
    ):
        yield from (unknown(path, kind, name, valid) for name in names or () if name not in valid)
    if (objective := settings.lineage.objective) and objective.rpartition(".")[0] not in models:
        yield unknown("lineage.objective", "model", objective.rpartition(".")[0], models)


def validate_gates(settings: Settings) -> Iterator[Fault]:
    """Yield faults of gates; with a misspelt model a gate would apply to no model, and pass those it should stop."""
    active = {name: gate for name, gate in (settings.lineage.gates or {}).items() if gate is not None}
    yield from (Fault(f"lineage.gates.{name}", f"{message}.") for name, message in gates.faults(active))
    models = settings.lineage.models or {}
    valid = {*models, *(model.type for model in models.values() if model is not None and model.type)}
    for name, gate in active.items():
        yield from (
            unknown(f"lineage.gates.{name}.applies_to", "model or model type", model, valid)
            for model in gate.applies_to
            if model not in valid
        )


def validate_budget(budget: float | Budget | None) -> Iterator[Fault]:
    """Yield a fault for each negative amount."""
    amounts = {"": budget} if not isinstance(budget, Budget) else {".task": budget.task, ".run": budget.run}
    for name, usd in amounts.items():
        if usd is not None and usd < 0:
            yield Fault(f"project.budget_usd{name}", f"{usd} is negative. Set US dollars, or null for no limit.")


def validate_root(root: str | None) -> Iterator[Fault]:
    """Yield a fault if the store's local path cannot be a folder."""
    if root is None:
        return  # reported already
    try:
        folder = Path(root).expanduser()
        if not root.strip():
            yield Fault("store.root", "is empty. Set a folder.")
        elif not folder.is_dir() and (folder.exists() or any(p.exists() and not p.is_dir() for p in folder.parents)):
            yield Fault("store.root", f"{root!r} is a file or inside one. Set a folder.")
    except (OSError, ValueError, RuntimeError) as error:
        yield Fault("store.root", f"{root[:80]!r} cannot be a folder ({error.__class__.__name__}). Set another path.")


def validate_remote(store: Store) -> Iterator[Fault]:
    """Yield faults in the spelling of the bucket's settings; no request is sent to check whether it exists."""
    if store.remote is None:
        return
    if not store.remote.startswith("s3://"):
        yield Fault("store.remote", f"{store.remote!r} is not a shared store. Set s3://bucket/prefix.")
        return
    name, _, prefix = store.remote.removeprefix("s3://").rstrip("/").partition("/")
    if not _BUCKET.fullmatch(name) or ".." in name:
        message = f"{name!r} is not a bucket name (3 to 63 of a-z, 0-9, '-', '.'). Set s3://bucket/prefix."
        yield Fault("store.remote", message)
    try:
        require_key(prefix or "none")
    except PokeflowError as error:
        yield Fault("store.remote", str(error))
    if store.endpoint is not None and not _ENDPOINT.fullmatch(store.endpoint):
        yield Fault("store.endpoint", "not a server address. Set http://host:port or https://host without credentials.")
    if store.connections is not None and store.connections < 1:
        yield Fault("store.connections", f"{store.connections} is below 1. Set at least one connection.")


def validate_names(settings: Settings) -> Iterator[Fault]:
    """Yield faults of names that become part of folders and keys."""
    if (settings.layout.root or "").partition("/")[0] in _RESERVED:
        yield Fault("layout.root", f"{settings.layout.root!r} is reserved for the store. Choose another folder.")
    if "/" in (settings.project.name or ""):
        yield Fault("project.name", f"{settings.project.name!r} contains a '/'. Choose another name.")


def validate_executors(steps: Mapping[str, Step], registry: Registry) -> Iterable[Fault]:
    """Yield a fault for each executor on other machines, for a store without a shared bucket."""
    for name in sorted({step.executor for step in steps.values() if step.executor}):
        if name in registry.executors and registry.executors[name].remote:
            yield Fault("executor.name", f"{name!r} runs remotely and needs a shared store. Set store=s3.")
