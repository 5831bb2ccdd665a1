"""From plain data to a Flow: every name and every value is checked, and all the faults are told at once."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from pokeflow import gates
from pokeflow.config._layout import expand
from pokeflow.config._settings import ModelType, Settings, Store
from pokeflow.config._steps import HINT, Builder, backend_of, params_of
from pokeflow.errors import ConfigError, Fault, PokeflowError, unknown
from pokeflow.flow import Flow, Service, Step, Sweep, described, order, select, with_digest
from pokeflow.objects import Objects
from pokeflow.plugins import Registry
from pokeflow.schema import parse
from pokeflow.stages import DATA, PIPELINE, PREPARE, PROJECT, REGISTER, TRACK
from pokeflow.types import TASKS, About, Budget, NoParams, Shared

_ENDPOINT = re.compile(r"https?://[^\s@/?#]+(/[^\s@?#]*)?")
_OWN = (
    *(TASKS, "work", "locks", "claims", "runs", "sweeps", "untracked", "migrations", "mlartifacts", ".pokeflow"),
    *("jobs", "registry"),
)
"""Folders of the store that a tree would be mixed up with."""


def resolve(
    data: Mapping[str, Any], registry: Registry, *, sweep: Sweep | None = None, command: str = "pokeflow"
) -> Flow:
    """Check the configuration and make the flow; ConfigError holds all the faults there are.

    A trial of a ``sweep`` registers nothing unless ``stages`` says so: a registry holds what is meant to stay.
    """
    faults: list[Fault] = []
    settings = parse(Settings, data, "", faults)
    groups = ("lineage", "project", "store", "executor", "layout")
    if settings is None or None in [getattr(settings, group) for group in groups]:
        raise ConfigError(faults)  # nothing to look further into
    builder = Builder(settings, registry, faults)
    steps = builder.steps()
    cloud = _cloud(settings, registry, faults)
    if PIPELINE in cloud and (work := settings.cloud[PIPELINE]) and work.backend:
        steps |= builder.serving(PIPELINE, Service(registry.backends[PIPELINE, work.backend], cloud[PIPELINE]))
    known_models = {name: model for name, model in (settings.lineage.models or {}).items() if model is not None}
    leaves = expand(settings.layout, known_models, steps, faults)
    stages = _stages(settings)
    models = {DATA, *(settings.lineage.models or ())}
    for path, what, names, known in (
        ("models", "model", settings.models, models),
        ("force", "model", settings.force, models),
        ("stages", "stage", settings.stages, stages),
    ):
        faults.extend(unknown(path, what, name, known) for name in names or () if name not in known)
    if (objective := settings.lineage.objective) and objective.rpartition(".")[0] not in models:
        faults.append(unknown("lineage.objective", "model", objective.rpartition(".")[0], models))
    faults += _faults_of_gates(settings, models)
    faults += _faults_of_budget(settings.project.budget_usd)
    _check_root(settings.store.root, faults)
    remote = bucket(settings.store, faults)
    if (settings.layout.root or "").partition("/")[0] in _OWN:
        faults.append(Fault("layout.root", f"{settings.layout.root!r} is the store's own. Name another folder."))
    if "/" in (settings.project.name or ""):
        faults.append(Fault("project.name", f"{settings.project.name!r} holds a '/'."))
    tracking = _observer(settings.tracking, registry, faults)
    if remote is None:
        faults += [
            Fault("executor.name", f"{name!r} shares only a bucket with this machine. Choose store=s3.")
            for name in {step.on for step in steps.values()}
            if name in registry.executors and registry.executors[name].remote
        ]
    ordered = order(steps, faults) if not faults else ()
    if faults:
        raise ConfigError(dict.fromkeys(faults))  # what many models share is told once
    ordered = tuple(_told_of_all(step, ordered) for step in ordered)
    kept = sorted(stages - {REGISTER, PIPELINE})
    wanted = settings.stages if settings.stages is not None or sweep is None else kept
    executors = {step.on: step.place for step in reversed(ordered)} | {settings.executor.name: builder.place("", None)}
    return Flow(
        project=settings.project.name,
        steps=select(ordered, settings.models, wanted),
        parents={name: model.parents for name, model in settings.lineage.models.items()},
        # Absolute, since a backend may change the current folder.
        root=Path(settings.store.root).expanduser().absolute(),
        executors=executors,
        remote=remote,
        shared=_shared(settings.store, remote),
        tree=settings.layout.root,
        leaves=tuple(leaves),
        about=_about(settings, remote, executors),
        tracking=tracking,
        cloud=cloud,
        budget=Budget.of(settings.project.budget_usd),
        objective=settings.lineage.objective,
        publish=settings.publish,
        force=frozenset(settings.force),
        command=command,
        config=data,
        sweep=sweep,
    )


def bucket(store: Store, faults: list[Fault]) -> Objects | None:
    """The bucket behind a store, if it names one."""
    if store.remote is None:
        return None
    if not store.remote.startswith("s3://"):
        faults.append(Fault("store.remote", f"{store.remote!r} is no place that is shared. Give s3://bucket/prefix."))
        return None
    if store.endpoint is not None and not _ENDPOINT.fullmatch(store.endpoint):
        message = "is no address of a server: http://host:port or https://host, credentials are found elsewhere."
        faults.append(Fault("store.endpoint", message))
        return None
    if store.connections is not None and store.connections < 1:
        faults.append(Fault("store.connections", f"{store.connections} is below 1."))
        return None
    from pokeflow.objects import open_uri

    try:
        return open_uri(
            store.remote,
            endpoint=store.endpoint,
            region=store.region,
            encryption=store.encryption,
            kms_key=store.kms_key,
            connections=store.connections,
        )
    except PokeflowError as error:
        faults.append(Fault("store.remote", str(error)))
        return None


def _shared(store: Store, remote: Objects | None) -> Shared | None:
    return None if remote is None else Shared(remote.uri, store.endpoint, store.region, store.encryption, store.kms_key)


def _faults_of_budget(given: float | Budget | None) -> Iterable[Fault]:
    amounts = {"": given} if not isinstance(given, Budget) else {".task": given.task, ".run": given.run}
    for name, usd in amounts.items():
        if usd is not None and usd < 0:
            yield Fault(f"project.budget_usd{name}", f"{usd} is below 0: US dollars, or null for no limit.")


def _faults_of_gates(settings: Settings, models: set[str]) -> Iterable[Fault]:
    """A gate that holds for nobody, since a name is misspelt, would let through what it is to stop."""
    given = {name: gate for name, gate in (settings.lineage.gates or {}).items() if gate is not None}
    yield from (Fault(f"lineage.gates.{name}", f"{message}.") for name, message in gates.faults(given))
    known = {*get_args(ModelType), *models} - {DATA}
    for name, gate in given.items():
        yield from (
            unknown(f"lineage.gates.{name}.of", "model or model type", of, known) for of in gate.of if of not in known
        )


def _cloud(settings: Settings, registry: Registry, faults: list[Fault]) -> dict[str, Any]:
    """The parameters of the cloud's commands, and of what stages leave there, by name."""
    found: dict[str, Any] = {}
    commands = {name: command for name, command in registry.commands.items() if command.params is not NoParams}
    for name, work in (settings.cloud or {}).items():
        path, command = f"cloud.{name}", commands.get(name)
        if work is None or (command is None and work.backend is None and name in registry.stages):
            continue
        if command is None and name not in registry.stages:
            faults.append(unknown(path, "command", name, [*commands, *registry.stages], HINT))
        elif command is not None and work.backend is not None:
            faults.append(Fault(f"{path}.backend", "a command has none: the plugin that brings it does it. Remove it."))
        else:
            maker = command or backend_of(name, work.backend, f"{path}.backend", registry, faults)
            params = maker and params_of(maker, work.params, f"{path}.params", faults)
            found |= {name: params} if params is not None else {}
    return found


def _told_of_all(step: Step, steps: tuple[Step, ...]) -> Step:
    """A step of the whole project, whose backend is told of all tasks of models."""
    if step.model != PROJECT:
        return step
    tasks = tuple(described(other) for other in steps if other.model != PROJECT)
    return with_digest(dataclasses.replace(step, params=dataclasses.replace(step.params, tasks=tasks)), {})


def _about(settings: Settings, remote: Objects | None, executors: Mapping[str, Any]) -> About:
    """What metadata tells of the project; where the tree lies is told only if others can go there."""
    project, uri = settings.project, settings.tracking.get("uri")
    bucket = remote.uri.removeprefix("s3://").partition("/")[0] if remote else None
    return About(
        name=project.name,
        description=project.description,
        version=project.version,
        id=project.id,
        uri=f"{remote.uri}/{settings.layout.root}" if remote else "",
        bucket=bucket,
        region=settings.store.region,
        tracking_uri=uri if isinstance(uri, str) and not uri.startswith("sqlite:") else None,
        models=tuple(settings.lineage.models),
        executors={name: msgspec.to_builtins(params) for name, params in executors.items()},
    )


def _check_root(root: str | None, faults: list[Fault]) -> None:
    if root is None:
        return  # has its fault already
    place = Path(root).expanduser()
    try:
        if not root.strip():
            faults.append(Fault("store.root", "is empty. Name a folder."))
        elif not place.is_dir() and (place.exists() or any(p.exists() and not p.is_dir() for p in place.parents)):
            faults.append(Fault("store.root", f"{root!r} is, or lies in, a file. Name a folder."))
    except (OSError, ValueError) as error:
        faults.append(Fault("store.root", f"{root[:80]!r} cannot be a folder ({error.__class__.__name__})."))


def _stages(settings: Settings) -> set[str]:
    """Every stage that the configuration names."""
    models = [model for model in (settings.lineage.models or {}).values() if model is not None]
    then = [stage for works in (settings.lineage.then, *(m.then for m in models)) for stage in works or ()]
    own = {stage for stage in (PIPELINE,) if (settings.cloud or {}).get(stage)}
    return {PREPARE, *own, *(model.stage for model in models if model.stage), *then}


def _observer(data: Mapping[str, Any], registry: Registry, faults: list[Fault]) -> Service | None:
    rest = dict(data or {})
    name = rest.pop("backend", None)
    if name is None:
        return None
    backend = backend_of(TRACK, name, "tracking.backend", registry, faults)
    params = backend and params_of(backend, rest, "tracking", faults)
    return Service(backend, params) if backend and params is not None else None
