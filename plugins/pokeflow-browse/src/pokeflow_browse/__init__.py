"""Plugin with the commands that read a published project."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the commands ``ls``, ``find``, ``lineage``, ``verify`` and ``pull``."""
    summaries = {
        "ls": "the project's tree: what is there, what each file is from, and what is missing",
        "find": "models, figures and files of the project by part of a name, a pattern or a digest",
        "lineage": "which version was made from which, and how, drawn",
        "verify": "read the project's tree again and compare it with its checksums and schemas",
        "pull": "bring a published model or data set to this machine, every checksum compared",
    }
    where = "pokeflow_browse.commands"
    return [
        Command(name, summary, run=f"{where}.{name}:run", arguments=f"{where}.{name}:arguments")
        for name, summary in summaries.items()
    ]
