"""pokeflow: compose a configuration, resolve it to a flow, run it; and a few commands beside."""

import importlib
import io
import os
import sys

from pokeflow.errors import ConfigError, PokeflowError, exit_on_sigterm, unknown, was_stopped
from pokeflow.types import load_function

COMMANDS = {
    "plan": "what would run, where, what is reused, at what estimated cost",
    "publish": "put what is made into the project's tree, and bring its metadata up to date",
    "ls": "the project's tree: what is there, and what is missing",
    "find": "a model, a metric or a file, anywhere in the project",
    "lineage": "which model was made from which, drawn",
    "verify": "read the project's tree again and compare it with its checksums and schemas",
    "pull": "bring a published model or data set to this machine",
    "migrate": "bring existing assets into the project's tree",
    "recognize": "the cards most like a picture, by the newest compiled model",
    "package": "a compiled model as a signed release for small devices",
    "init": "a new project folder with a configuration of its own to edit",
    "schema": "JSON Schema of the configuration, so that editors complete and check it",
    "plugins": "the installed plugins and what each brings; new target NAME writes one",
    "doctor": "what this machine has, and what is missing",
}
HELP = """\
pokeflow: YAML says what to make, plugins make it, records say how it was made.

  pokeflow [KEY=VALUE …]             run the lineage; what is made already is reused
  pokeflow -m KEY=A,B [KEY=VALUE …]  sweep: one trial a combination
{commands}

KEY=VALUE picks an option of a group (data=folder) or sets a value (data.root=../cards):
{groups}
  models=[…] stages=[…]  some models or stages, and what they need    force=[…]  make again
  publish=true           publish what is made into the project's tree afterwards
Hydra's own flags work as well: --cfg job, --info, --multirun, --config-dir DIR, --hydra-help.
"""
KEPT = "interrupted. What is done is kept; the same command goes on from here."


def main() -> None:
    """Entry point of the command ``pokeflow``.

    Exits with 0, 1 (a task failed), 2 (bad input: nothing was changed), 3 (nothing failed, but what a task needs is
    not here), 130 or 143 (interrupted).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shows another
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:  # noqa: PLR0911 - one return a way to end
    """Do what the arguments say; every foreseeable error becomes a sentence and an exit code."""
    exit_on_sigterm()
    try:
        if args and args[0] in COMMANDS:
            command = importlib.import_module(f"pokeflow.cli.commands.{args[0]}")
            return int(command.main(args[1:]))
        if args and "=" not in args[0] and not args[0].startswith(("-", "~", "+")):
            return _run_plugin_command(args[0], args[1:])
        if any(a in ("-h", "--help") for a in args):
            print(_help())  # noqa: T201
            return 0
        from pokeflow.cli import _run as run_flow

        return run_flow.main(args)
    except KeyboardInterrupt:
        _tell(KEPT)
        return 130
    except SystemExit as stop:
        if was_stopped(stop):
            _tell(KEPT)
        raise
    except PokeflowError as error:
        _tell(str(error))
        return error.exit_code
    except UnicodeDecodeError as error:
        _tell(f"not UTF-8: {error}.")
        return 2
    except BrokenPipeError:
        # The reader of our output (head, less) has left: nothing to say, nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # A full disk, a folder that cannot be written, a file where a folder should be.
        _tell(f"{error.filename or 'the system'}: {error.strerror or error}.")
        return 1


def _run_plugin_command(name: str, args: list[str]) -> int:
    """Run a command that a plugin brings."""
    import argparse

    from pokeflow import plugins
    from pokeflow.cli._arguments import asked

    commands = plugins.registry(plugins.manager()).commands
    if name not in commands:
        raise ConfigError([unknown("pokeflow", "command", name, [*COMMANDS, *commands])])
    command = commands[name]
    parser = argparse.ArgumentParser(f"pokeflow {name}", description=command.summary)
    if command.arguments:
        load_function(command.arguments)(parser)
    return int(load_function(command.run)(*asked(parser, args)))


def _tell(message: str) -> None:
    print(f"pokeflow: {message}" if "\n" not in message else f"pokeflow:\n{message}", file=sys.stderr)  # noqa: T201


def _help() -> str:
    from pokeflow import plugins
    from pokeflow.config._search_path import GROUPS, options

    brought = plugins.registry(plugins.manager()).commands.values()
    commands = COMMANDS | {command.name: command.summary for command in brought}
    names = [group for group in GROUPS if group != "hydra"]
    return HELP.format(
        commands="\n".join(f"  pokeflow {name:10} {text}" for name, text in commands.items()),
        groups="\n".join(f"  {group:11} {', '.join(options(group)) or '–'}" for group in names),
    )
