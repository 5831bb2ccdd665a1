"""Hooks that a pokeflow plugin may implement; the types that they return are in ``pokeflow.types``."""

from collections.abc import Iterable
from pathlib import Path

import pluggy

from pokeflow.types import Backend, Command, Executor, Record

hookspec = pluggy.HookspecMarker("pokeflow")
hookimpl = pluggy.HookimplMarker("pokeflow")


@hookspec
def pokeflow_backends() -> Iterable[Backend]:  # type: ignore[empty-body]  # a specification has no body
    """Return the backends this plugin adds. Two with the same stage and name are an error."""


@hookspec
def pokeflow_executors() -> Iterable[Executor]:  # type: ignore[empty-body]  # a specification has no body
    """Return the executors this plugin adds. Two with the same name are an error."""


@hookspec
def pokeflow_config_package() -> str:  # type: ignore[empty-body]  # a specification has no body
    """Return the package that holds this plugin's YAML, e.g. ``pokeflow_hailo.conf``."""


@hookspec
def pokeflow_commands() -> Iterable[Command]:  # type: ignore[empty-body]  # a specification has no body
    """Return the commands this plugin adds. Two with the same name are an error."""


@hookspec
def pokeflow_task_finished(record: Record, folder: Path) -> None:
    """Handle a task that ran and whose record is committed. All plugins are called; none can change or fail the run."""
