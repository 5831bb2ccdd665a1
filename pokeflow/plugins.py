"""Discovery of installed plugins: their backends, executors, commands, YAML packages and document kinds."""

import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any, TypeVar

import pluggy

from pokeflow import hookspecs
from pokeflow.errors import ConfigError, Fault, PokeflowError, was_stopped
from pokeflow.types import Backend, Command, DocumentKind, Executor, call_plugin

GROUP = "pokeflow"
DOCUMENTS = "pokeflow.documents"
"""Entry-point group of document kinds; each entry point has the name of its document."""
WELL_KNOWN: Mapping[str, Mapping[str, str]] = {
    "project": dict.fromkeys(
        ("project_manifest", "model_lineage", "training_history", "performance_benchmarks"), "pokeflow-metadata"
    ),
    "version": dict.fromkeys(("metrics", "model_card", "training_config"), "pokeflow-metadata"),
}
"""Documents by scope, with the distribution that provides each: a layout may name one that is not installed."""
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
Item = TypeVar("Item", Backend, Command, Executor)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Registry:
    """Registered backends by (stage, name), executors and commands by name."""

    backends: Mapping[tuple[str, str], Backend]
    executors: Mapping[str, Executor]
    commands: Mapping[str, Command] = field(default_factory=dict)

    def backends_of(self, stage: str) -> list[str]:
        """Return the names of the installed backends of a stage, sorted."""
        return sorted(name for owner, name in self.backends if owner == stage)

    @property
    def stages(self) -> list[str]:
        """Stages that have at least one installed backend, sorted."""
        return sorted({stage for stage, _ in self.backends})


def let_threads_sleep() -> None:
    """Make idle OpenMP threads sleep, not spin, in this process and its children, unless the user set the variable.

    OpenMP reads the variable once, when a library loads it, so this must run before any plugin is loaded. Spinning
    threads occupy the cores that other threads need: on a busy machine a training step took thirty times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@cache
def manager() -> pluggy.PluginManager:
    """Return the plugin manager with all installed plugins; raise a PokeflowError for a broken or misspelt hook."""
    let_threads_sleep()
    pm = pluggy.PluginManager(GROUP)
    pm.add_hookspecs(hookspecs)
    for entry in metadata.entry_points(group=GROUP):
        try:
            pm.register(entry.load(), name=entry.name)
            pm.check_pending()
        except (Exception, SystemExit) as error:  # the message must name the plugin
            if was_stopped(error):
                raise  # SIGTERM ends the process
            message = f"plugin {entry.name!r} ({entry.value}) cannot be loaded: {error}. Fix or uninstall it."
            raise PokeflowError(message) from error
    return pm


@hookspecs.hookimpl
def pokeflow_executors() -> Iterable[Executor]:
    """Return the executors of the core: one runs tasks in this process, the other in a worker process."""
    return [
        Executor("local", "pokeflow.engine.executors:run_here"),
        Executor("process", "pokeflow.engine.executors:run_in_process"),
    ]


def registry(pm: pluggy.PluginManager) -> Registry:
    """Collect the contents of all plugins; raise a ConfigError if two provide the same name."""
    return Registry(
        backends=_by_key(pm, "pokeflow_backends", Backend, lambda b: (b.stage, b.name)),
        executors=_by_key(pm, "pokeflow_executors", Executor, lambda e: e.name),
        commands=commands(pm),
    )


def commands(pm: pluggy.PluginManager) -> dict[str, Command]:
    """Return the commands of all plugins by name, without importing the modules of the commands."""
    return _by_key(pm, "pokeflow_commands", Command, lambda c: c.name)


def config_packages(pm: pluggy.PluginManager) -> list[str]:
    """Return the packages that hold the plugins' YAML, sorted by name."""
    packages = []
    for impl in pm.hook.pokeflow_config_package.get_hookimpls():
        name = _call_hook(impl, "pokeflow_config_package")
        label = f"plugin {impl.plugin_name!r}: pokeflow_config_package"
        if not isinstance(name, str) or call_plugin(label, find_spec, name) is None:
            raise PokeflowError(f"plugin {impl.plugin_name!r}: pokeflow_config_package: {name!r} is not a package.")
        packages.append(name)
    return sorted(packages)


def _call_hook(impl: pluggy.HookImpl, hook: str) -> Any:
    def call() -> Any:
        result = impl.function()
        return list(result) if isinstance(result, Iterator) else result

    return call_plugin(f"plugin {impl.plugin_name!r}: {hook}", call)


def _by_key(pm: pluggy.PluginManager, hook: str, kind: type[Item], key: Callable[[Item], Key]) -> dict[Key, Item]:
    by_key: dict[Key, Item] = {}
    owner: dict[Key, str] = {}
    # Each implementation is called separately, so that an error can name its plugin.
    for impl in sorted(getattr(pm.hook, hook).get_hookimpls(), key=lambda impl: str(impl.plugin_name)):
        plugin = impl.plugin_name
        result = _call_hook(impl, hook)
        items = list(result) if isinstance(result, Iterable) else [result]
        for item in items:
            if not isinstance(item, kind) or not (isinstance(item.params, str) or is_dataclass(item.params)):
                raise PokeflowError(f"plugin {plugin!r}: {hook} returned {item!r}; expected {kind.__name__}s.")
            if (name := _invalid_name(item)) is not None:
                raise PokeflowError(f"plugin {plugin!r}: {hook}: {name!r} is not a name: use letters, digits, '.-_'.")
            if key(item) in by_key:
                noun = f"{type(item).__name__.lower()} {key(item)}"
                message = f"{owner[key(item)]} and {plugin} both provide {noun}. Uninstall one of them."
                raise ConfigError([Fault("plugins", message)])
            by_key[key(item)], owner[key(item)] = item, plugin
    return by_key


def _invalid_name(item: Backend | Command | Executor) -> Any:
    """Return an item's first name that folders, YAML and records cannot use; None if all names are valid."""
    names: list[Any] = [item.name, *((item.stage, item.revision) if isinstance(item, Backend) else ())]
    return next((name for name in names if not isinstance(name, str) or not _NAME.fullmatch(name)), None)


@cache
def document_kinds() -> Mapping[str, DocumentKind]:
    """Return the document kinds of installed distributions by name; raise an error that names a broken one."""
    kinds: dict[str, DocumentKind] = {}
    for entry in sorted(metadata.entry_points(group=DOCUMENTS), key=lambda entry: (entry.name, entry.value)):
        label = f"document kind {entry.name!r} ({entry.value})"
        try:
            kind = entry.load()
        except Exception as error:  # the message must name the entry point
            raise PokeflowError(f"{label} cannot be loaded: {error}. Fix or uninstall it.") from error
        if not isinstance(kind, DocumentKind) or kind.name != entry.name or kind.scope not in WELL_KNOWN:
            expected = f"a DocumentKind named {entry.name!r} of scope {' or '.join(WELL_KNOWN)}"
            raise PokeflowError(f"{label} is {kind!r}; expected {expected}.")
        if entry.name in kinds:
            raise ConfigError([Fault("plugins", f"{label} is provided by two distributions. Uninstall one of them.")])
        kinds[entry.name] = kind
    return kinds
