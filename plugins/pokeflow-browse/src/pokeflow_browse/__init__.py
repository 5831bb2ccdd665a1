"""Plugin with the commands that read a published project."""

from collections.abc import Iterable

from pokeflow import Command, hookimpl


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the commands ``ls``, ``find``, ``lineage``, ``verify`` and ``pull``."""
    summaries = {
        "ls": "list the published files, their origin, and the files that are missing",
        "find": "find models, figures and files by part of a name, a pattern or a digest",
        "lineage": "draw the lineage of the published versions",
        "verify": "check the published files against their checksums and schemas",
        "pull": "download a published model or data set and verify every checksum",
    }
    package = "pokeflow_browse.commands"
    return [
        Command(name, summary, run=f"{package}.{name}:run", arguments=f"{package}.{name}:add_arguments")
        for name, summary in summaries.items()
    ]
