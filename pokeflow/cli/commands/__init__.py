"""Commands of the core, one module each, registered through the same hook as those of plugins."""

from collections.abc import Iterable

from pokeflow.hookspecs import hookimpl
from pokeflow.types import Command

_PACKAGE = "pokeflow.cli.commands"
_SUMMARIES = {
    "plan": "show which tasks would run or be reused, where, and at what estimated cost",
    "publish": "publish finished results to the project's tree and update its metadata",
    "init": "create a project folder with its own configuration",
    "schema": "write JSON Schemas of the configuration, for completion and checks in editors",
    "plugins": "list the installed plugins and their contents; 'new' generates a working plugin",
    "doctor": "check the requirements of this machine and list what is missing",
}
_NO_ARGUMENTS = ("plan", "doctor")
_NO_CONFIGURATION = ("init", "schema", "plugins")


@hookimpl
def pokeflow_commands() -> Iterable[Command]:
    """Return the commands that need no plugin."""
    commands = [
        Command(
            name,
            summary,
            run=f"{_PACKAGE}.{name}:run",
            arguments=None if name in _NO_ARGUMENTS else f"{_PACKAGE}.{name}:add_arguments",
            overrides=name not in _NO_CONFIGURATION,
        )
        for name, summary in _SUMMARIES.items()
    ]
    module = "pokeflow.cli._help"
    help_ = Command("help", "show the help of a command", f"{module}:run", f"{module}:add_arguments", overrides=False)
    return [*commands, help_]
