"""Main function of the command line: it runs the command named first or, without one, a configuration."""

import io
import itertools
import logging
import os
import sys
from collections.abc import Sequence

from pokeflow import progress
from pokeflow.cli._arguments import is_override, parse, require_run_flags, take_verbosity
from pokeflow.errors import ConfigError, Fault, PokeflowError, exit_on_sigterm, was_stopped
from pokeflow.types import call_plugin, load_function

log = logging.getLogger("pokeflow")
INTERRUPTED = "interrupted. Finished work is kept; run the same command to resume."


def main() -> None:
    """Run the command ``pokeflow`` and exit.

    The exit code is 0, 1 (a task failed), 2 (bad input: nothing was changed), 3 (nothing failed, but a task needs
    something unavailable), 130 or 143 (interrupted).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks is replaced
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run the command line; convert every foreseeable error to a message and an exit code."""
    exit_on_sigterm()
    try:
        try:
            return dispatch(args)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # flushed here, so that a closed pipe is handled below
    except KeyboardInterrupt:
        _print_error(INTERRUPTED)
        return 130
    except SystemExit as stop:
        if was_stopped(stop):
            _print_error(INTERRUPTED)
        raise
    except PokeflowError as error:
        _print_error(str(error))
        if log.isEnabledFor(logging.DEBUG):
            progress.enable_logging()
            log.debug("where it was raised:", exc_info=error)
        return error.exit_code
    except UnicodeDecodeError as error:
        _print_error(f"not UTF-8: {error}.")
        return 2
    except BrokenPipeError:
        # The reader of the output (head, less) has ended, so that no message can reach it.
        _drop_unwritten()
        return 141
    except OSError as error:
        # A full disk, a folder that cannot be written, a file where a folder should be.
        _print_error(f"{error.filename or 'the system'}: {error.strerror or error}.")
        _drop_unwritten()
        return 1


def _drop_unwritten() -> None:
    """Discard output that a stream cannot accept, because Python would otherwise report an error at exit."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def dispatch(args: Sequence[str]) -> int:
    """Run the command line and return the exit code; errors are raised."""
    verbosity = list(itertools.takewhile(lambda word: take_verbosity([word])[1], args))
    words = args[len(verbosity) :]
    first = words[0] if words else ""
    if first in ("-sc", "--shell-completion"):
        from pokeflow.cli import _completion as completion

        return completion.run(words[1:])
    if first and not first.startswith("-") and not is_override(first):
        return _run_command(first, [*words[1:], *verbosity])
    if "--version" in words:
        from pokeflow.cli import _help as help_

        print(help_.versions())
        return 0
    if "-h" in words or "--help" in words:
        from pokeflow.cli import _help as help_

        print(help_.overview())
        return 0
    return _run_flow(args)


def _run_flow(args: Sequence[str]) -> int:
    words, verbosity = take_verbosity(args)
    require_run_flags(words)
    _refuse_late_command(words)
    progress.set_verbosity(verbosity)
    from pokeflow.cli import _run as run_flow

    return run_flow.main(words)


def _refuse_late_command(words: Sequence[str]) -> None:
    """Raise a ConfigError for a command's name after overrides, which Hydra would report as a broken override."""
    for before, word in itertools.pairwise(["", *words]):
        if word and not word.startswith("-") and not is_override(word) and not before.startswith("-"):
            from pokeflow.cli._lookup import known_commands

            if word in (command.name for command in known_commands()):
                raise ConfigError([Fault("", f"{word!r} is a command and must come first: 'pokeflow {word} …'.")])


def _run_command(name: str, args: Sequence[str]) -> int:
    from pokeflow.cli._lookup import find

    command = find(name)
    arguments, overrides = parse(command, args)
    progress.set_verbosity(arguments.verbose - arguments.quiet)
    progress.enable_logging()
    code = call_plugin(f"command {name!r} ({command.run})", load_function, command.run)(arguments, overrides)
    if not isinstance(code, int):
        raise PokeflowError(f"command {name!r} ({command.run}) returned {code!r}; an exit code is expected.")
    return code


def _print_error(message: str) -> None:
    message = message.removeprefix("pokeflow: ")
    print(f"pokeflow: {message}" if "\n" not in message else f"pokeflow:\n{message}", file=sys.stderr)
