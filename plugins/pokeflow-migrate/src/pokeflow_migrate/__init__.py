"""Plugin that migrates existing assets to the project's tree; sources are never changed, every byte is verified."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the command ``pokeflow migrate``."""
    module = "pokeflow_migrate.commands.migrate"
    summary = "migrate existing assets to the project's tree according to a plan in YAML"
    return [Command("migrate", summary, f"{module}:run", f"{module}:add_arguments")]
