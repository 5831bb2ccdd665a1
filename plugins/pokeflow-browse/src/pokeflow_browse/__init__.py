"""The commands that read a published project."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl
from pokeflow_browse.commands import SUMMARIES


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Bring ``ls``, ``find``, ``lineage``, ``verify`` and ``pull``."""
    where = "pokeflow_browse.commands"
    return [
        Command(name, summary, run=f"{where}.{name}:run", arguments=f"{where}.{name}:arguments")
        for name, summary in SUMMARIES.items()
    ]
