"""The commands by name: our own, and those that plugins bring."""

from pokeflow import plugins
from pokeflow.cli import commands as built_in
from pokeflow.config import distribution_of
from pokeflow.errors import ConfigError, unknown
from pokeflow.types import Command


def find(name: str) -> Command:
    """Look a command up; ConfigError with the nearest name where there is none.

    Our own are found without asking the plugins, so that ``doctor`` works where one of these is broken.
    """
    own = {command.name: command for command in built_in.pokeflow_commands()}
    if name in own:
        return own[name]
    known = plugins.commands(plugins.manager())
    if name not in known:
        brought = distribution_of("command", name)
        hint = f"Install {brought}, which brings it." if brought else "'pokeflow --help' tells what each does."
        raise ConfigError([unknown("", "command", name, known, hint)])
    return known[name]


def known_commands() -> list[Command]:
    """Every command: our own in the order of the help, then those of plugins by name."""
    own = [command.name for command in built_in.pokeflow_commands()]
    known = plugins.commands(plugins.manager())
    return [known[name] for name in [*(n for n in own if n in known), *sorted(known.keys() - set(own))]]
