"""Plugin that migrates existing assets to the project's tree; sources are never changed, every byte is verified."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the command ``pokeflow migrate``."""
    where = "pokeflow_migrate.commands.migrate"
    summary = "bring existing assets into the project's tree, as a plan in YAML says"
    return [Command("migrate", summary, f"{where}:run", f"{where}:arguments")]
