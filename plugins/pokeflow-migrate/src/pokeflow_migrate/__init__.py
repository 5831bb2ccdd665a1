"""Bringing existing assets into the project's tree: sources are read, never touched; every byte is accounted for."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """``pokeflow migrate``."""
    summary = "bring existing assets into the project's tree, as a plan in YAML says"
    return [Command("migrate", summary, "pokeflow_migrate.command:run", "pokeflow_migrate.command:arguments")]
