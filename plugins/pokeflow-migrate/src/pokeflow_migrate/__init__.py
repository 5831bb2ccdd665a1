"""Bringing existing assets into the project's tree: sources are read, never touched; every byte is accounted for."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return ``pokeflow migrate``."""
    where = "pokeflow_migrate.commands.migrate"
    summary = "bring existing assets into the project's tree, as a plan in YAML says"
    return [Command("migrate", summary, f"{where}:run", f"{where}:arguments")]
