"""Conversion of plain data to a Flow: all names and values are validated, and all faults reported at once."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.config._layout import expand
from pokeflow.config._steps import HINT, Builder, backend_of, params_of
from pokeflow.config._validate import stages, validate, validate_remote, validate_root
from pokeflow.config.settings import Settings, Store
from pokeflow.errors import ConfigError, Fault, unknown
from pokeflow.flow import Flow, Service, Step, Sweep, order, select, step_to_dict, with_digest
from pokeflow.plugins import Registry
from pokeflow.schema import MISSING, parse
from pokeflow.stages import PIPELINE, PROJECT, REGISTER, TRACK
from pokeflow.types import About, Budget, LayoutEntry, NoParams, RemoteStore

_GROUPS = ("lineage", "project", "store", "executor", "layout")


def resolve(
    data: Mapping[str, Any], registry: Registry, *, sweep: Sweep | None = None, command: str = "pokeflow"
) -> Flow:
    """Validate the configuration and build the flow.

    Args:
        data: The composed configuration as plain data.
        registry: The installed backends, executors and commands.
        sweep: The trial, if the flow is one. It registers no model unless ``stages`` says so: a registry is permanent.
        command: The command line that repeats this run.

    Raises:
        ConfigError: With all faults.

    """
    faults: list[Fault] = []
    settings = parse(Settings, data, "", faults)
    if settings is None or None in [getattr(settings, group) for group in _GROUPS]:
        raise ConfigError(faults)  # without these, no further check is possible
    builder = Builder(settings, registry, faults)
    steps = builder.steps()
    cloud = _cloud(settings, registry, faults)
    if PIPELINE in cloud and (work := settings.cloud[PIPELINE]) and work.backend:
        steps |= builder.serving(PIPELINE, Service(registry.backends[PIPELINE, work.backend], cloud[PIPELINE]))
    models = {name: model for name, model in (settings.lineage.models or {}).items() if model is not None}
    leaves = expand(settings.layout, models, steps, faults)
    # Faults that follow from a reported one: a gate without a bound if its bound is no number, no shared store if its
    # URI is missing.
    follow = {fault.path.rpartition(".")[0] for fault in faults if fault.path.endswith((".min", ".max"))}
    follow |= {"executor.name" for fault in faults if fault.path == "store.remote"}
    faults += [fault for fault in validate(settings, steps, registry) if fault.path not in follow]
    tracking = _tracking_service(settings.tracking, registry, faults)
    executor_params = builder.executor_params()
    ordered = order(steps, faults) if not faults else ()
    if faults:
        raise ConfigError(_without_copies(faults))
    ordered = tuple(_with_all_tasks(step, ordered) for step in ordered)
    executors = {step.executor: step.executor_params for step in reversed(ordered)} | {
        settings.executor.name: executor_params
    }
    return _flow(
        settings,
        select(ordered, settings.models, _selected_stages(settings, sweep)),
        executors,
        leaves,
        tracking=tracking,
        cloud=cloud,
        command=command,
        config=data,
        sweep=sweep,
    )


def _without_copies(faults: list[Fault]) -> list[Fault]:
    """Return each fault once: models may share it, and parameters of stages copy ``lineage.gates`` by interpolation."""
    once = dict.fromkeys(faults)
    source = {fault: f"lineage.gates.{fault.path.partition('.params.gates.')[2]}" for fault in once}
    return [fault for fault in once if Fault(source[fault], fault.message) not in once]


def _selected_stages(settings: Settings, sweep: Sweep | None) -> tuple[str, ...] | None:
    """Return the selected stages, None for all; by default a sweep leaves out registration and the pipeline."""
    if settings.stages is not None or sweep is None:
        return settings.stages
    return tuple(sorted(stages(settings) - {REGISTER, PIPELINE}))


def _flow(
    settings: Settings, steps: tuple[Step, ...], executors: Mapping[str, Any], leaves: list[LayoutEntry], **fields: Any
) -> Flow:
    """Build the flow from valid settings."""
    remote_store = remote_store_of(settings.store)
    return Flow(
        project=settings.project.name,
        steps=steps,
        parents={name: model.parents for name, model in settings.lineage.models.items()},
        # Absolute, since a backend may change the current folder.
        root=Path(settings.store.root).expanduser().absolute(),
        executors=executors,
        remote_store=remote_store,
        connections=settings.store.connections,
        tree=settings.layout.root,
        leaves=tuple(leaves),
        about=_describe_project(settings, remote_store, executors),
        budget=Budget.of(settings.project.budget_usd),
        objective=settings.lineage.objective,
        publish=settings.publish,
        force=frozenset(settings.force),
        **fields,
    )


def resolve_store(data: Any) -> Store:
    """Validate the settings of a store alone; the rest of a configuration may be incomplete.

    Raises:
        ConfigError: With all faults of the group.

    """
    faults: list[Fault] = []
    settings = parse(Store, data, "store", faults)
    if settings is not None:
        faults += [*validate_root(settings.root), *validate_remote(settings)]
    if settings is None or faults:
        raise ConfigError(faults)
    return settings


def remote_store_of(store: Store) -> RemoteStore | None:
    """Return the bucket behind a store as plain data; None if the store names no bucket."""
    if store.remote is None:
        return None
    return RemoteStore(store.remote.rstrip("/"), store.endpoint, store.region, store.encryption, store.kms_key)


def _cloud(settings: Settings, registry: Registry, faults: list[Fault]) -> dict[str, Any]:
    """Return the parameters in the group ``cloud`` by name: of commands, and of stages that write to the cloud."""
    by_name: dict[str, Any] = {}
    commands = {name: command for name, command in registry.commands.items() if command.params is not NoParams}
    for name, work in (settings.cloud or {}).items():
        path, command = f"cloud.{name}", commands.get(name)
        if work is None or (command is None and work.backend is None and name in registry.stages):
            continue
        if command is None and name not in registry.stages:
            faults.append(unknown(path, "command", name, [*commands, *registry.stages], HINT))
        elif command is not None and work.backend is not None:
            faults.append(Fault(f"{path}.backend", "a command takes no backend. Remove it."))
        else:
            maker = command or backend_of(name, work.backend, f"{path}.backend", registry, faults)
            params = maker and params_of(maker, work.params, f"{path}.params", faults)
            by_name |= {name: params} if params is not None else {}
    return by_name


def _with_all_tasks(step: Step, steps: tuple[Step, ...]) -> Step:
    """Add all tasks of models to the parameters of a step of the whole project; return other steps unchanged."""
    if step.model != PROJECT:
        return step
    tasks = tuple(step_to_dict(item) for item in steps if item.model != PROJECT)
    return with_digest(dataclasses.replace(step, params=dataclasses.replace(step.params, tasks=tasks)), {})


def _describe_project(settings: Settings, remote_store: RemoteStore | None, executors: Mapping[str, Any]) -> About:
    """Return the description of the project for its metadata; the tree's URI is included only if it is shared."""
    project, uri = settings.project, settings.tracking.get("uri")
    bucket = remote_store.uri.removeprefix("s3://").partition("/")[0] if remote_store else None
    return About(
        name=project.name,
        description=project.description,
        version=project.version,
        id=project.id,
        uri=f"{remote_store.uri}/{settings.layout.root}" if remote_store else "",
        bucket=bucket,
        region=settings.store.region,
        tracking_uri=uri if isinstance(uri, str) and not uri.startswith("sqlite:") else None,
        models=tuple(settings.lineage.models),
        executors={name: msgspec.to_builtins(params) for name, params in executors.items()},
    )


def _tracking_service(data: Mapping[str, Any], registry: Registry, faults: list[Fault]) -> Service | None:
    values = dict(data or {})
    name = values.pop("backend", None)
    if name in (None, MISSING):  # a missing value is reported already
        return None
    if not isinstance(name, str):
        faults.append(Fault("tracking.backend", f"expected text, got {name!r:.80}."))
        return None
    backend = backend_of(TRACK, name, "tracking.backend", registry, faults)
    params = backend and params_of(backend, values, "tracking", faults)
    return Service(backend, params) if backend and params is not None else None
