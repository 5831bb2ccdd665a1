"""Lookup of commands by name: those of the core, and those of plugins."""

from pokeflow import plugins
from pokeflow.cli import commands as built_in
from pokeflow.config import distribution_of
from pokeflow.errors import ConfigError, unknown
from pokeflow.types import Command


def find(name: str) -> Command:
    """Return the command with this name; raise a ConfigError with the nearest name if it does not exist.

    The core's own commands are looked up without the plugins, so that ``doctor`` works even if a plugin is broken.
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
    """Return all commands: the core's own in the order of the help, then those of plugins by name."""
    own = [command.name for command in built_in.pokeflow_commands()]
    known = plugins.commands(plugins.manager())
    return [known[name] for name in [*(n for n in own if n in known), *sorted(known.keys() - set(own))]]
