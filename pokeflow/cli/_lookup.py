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
    core_commands = {command.name: command for command in built_in.pokeflow_commands()}
    if name in core_commands:
        return core_commands[name]
    commands = plugins.commands(plugins.manager())
    if name not in commands:
        distribution = distribution_of("command", name)
        hint = f"Install {distribution}." if distribution else "'pokeflow --help' describes all commands."
        raise ConfigError([unknown("", "command", name, commands, hint)])
    return commands[name]


def known_commands() -> list[Command]:
    """Return all commands: the core's own in the order of the help, then those of plugins by name."""
    core = [command.name for command in built_in.pokeflow_commands()]
    commands = plugins.commands(plugins.manager())
    return [commands[name] for name in [*(n for n in core if n in commands), *sorted(commands.keys() - set(core))]]
