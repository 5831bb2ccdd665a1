"""Commands of the core, one module each, registered through the same hook as those of plugins."""

from collections.abc import Iterable

from pokeflow.hookspecs import hookimpl
from pokeflow.types import Command

_HERE = "pokeflow.cli.commands"
_SUMMARIES = {
    "plan": "what would run, where, what is reused, at what estimated cost",
    "publish": "put what is made into the project's tree, and bring its metadata up to date",
    "init": "a new project folder with a configuration of its own to edit",
    "schema": "JSON Schema of the configuration, so that editors complete and check it",
    "plugins": "the installed plugins and what each brings; 'new' writes one that works as it is",
    "doctor": "what this machine has, and what is missing",
}
_NO_ARGUMENTS = ("plan", "doctor")
_NO_CONFIGURATION = ("init", "schema", "plugins")


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the commands that need no plugin."""
    own = [
        Command(
            name,
            summary,
            run=f"{_HERE}.{name}:run",
            arguments=None if name in _NO_ARGUMENTS else f"{_HERE}.{name}:arguments",
            overrides=name not in _NO_CONFIGURATION,
        )
        for name, summary in _SUMMARIES.items()
    ]
    where = "pokeflow.cli._help"
    help_ = Command("help", "what a command does and takes", f"{where}:run", f"{where}:arguments", overrides=False)
    return [*own, help_]
