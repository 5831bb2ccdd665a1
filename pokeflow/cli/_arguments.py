"""Argument parser of the commands: their own arguments, overrides among them, and the options that all share."""

import argparse
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from pokeflow.errors import ConfigError, Fault, unknown
from pokeflow.types import Command, call_plugin, load_function

PROGRAM = "pokeflow"
CONFIG_DIR = ("--config-dir", "-cd")
QUIET, VERBOSE = ("-q", "--quiet"), ("-v", "--verbose")
RUN_FLAGS = {
    "--cfg": "-c",
    "--config-dir": "-cd",
    "--config-name": "-cn",
    "--config-path": "-cp",
    "--experimental-rerun": "",
    "--help": "-h",
    "--hydra-help": "",
    "--info": "-i",
    "--multirun": "-m",
    "--package": "-p",
    "--quiet": "-q",
    "--resolve": "",
    "--run": "-r",
    "--shell-completion": "-sc",
    "--verbose": "-v",
    "--version": "",
}
"""Flags of ``pokeflow`` without a command: those of Hydra and of pokeflow itself, each with its short form."""
CONFIGURATION = (
    "KEY=VALUE picks an option of a group or sets a value of the configuration, as for a run; "
    f"'{PROGRAM} --help' lists the groups."
)
_OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_$][\w./@:$\-\[\]{}]*=")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a ConfigError instead of printing and exiting, and accepts no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    @property
    def path(self) -> str:
        """Name of the command, as error messages use it."""
        return self.prog.removeprefix(f"{PROGRAM} ")

    def error(self, message: str) -> NoReturn:
        """Raise a ConfigError for invalid arguments."""
        raise ConfigError([Fault(self.path, f"{message}. See '{self.prog} --help'.")])

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            argument = action.option_strings[-1] if action.option_strings else action.dest
            raise ConfigError([unknown(self.path, f"choice for {argument}", value, map(str, action.choices))])


def parser_of(command: Command) -> Parser:
    """Build a command's parser: prog, summary, its own arguments, then the options of every command."""
    parser: Parser = call_plugin(f"the arguments of command {command.name!r}", _build_parser, command)
    return parser


def _build_parser(command: Command) -> Parser:
    summary = command.summary[:1].upper() + command.summary[1:] + "."
    parser = Parser(f"{PROGRAM} {command.name}", description=summary)
    if command.arguments:
        load_function(command.arguments)(parser)
    common = parser.add_argument_group("options of every command", CONFIGURATION if command.overrides else None)
    if command.overrides:
        common.add_argument(*CONFIG_DIR, metavar="DIR", help="an additional folder of YAML, searched last")
    common.add_argument(*QUIET, action="count", default=0, help="show warnings and errors only, no progress")
    common.add_argument(*VERBOSE, action="count", default=0, help="show debug messages, and the traceback of an error")
    parser.format_help()  # a help text that cannot be formatted fails here
    usage = parser.format_usage().partition(": ")[2].rstrip().replace("%", "%%")
    parser.usage = f"{usage} [KEY=VALUE …]" if command.overrides else usage
    return parser


def parse(command: Command, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split a command's words into its arguments and the overrides; raise a ConfigError for any other word."""
    parser = parser_of(command)
    words, overrides = split(parser, args)
    if overrides and not command.overrides:
        raise ConfigError([Fault(parser.path, f"takes no overrides. Remove {' '.join(overrides)}.")])
    arguments, unexpected = parser.parse_known_args(words)
    if unexpected:
        raise ConfigError(_unexpected_words(parser, unexpected))
    return arguments, overrides


def split(parser: argparse.ArgumentParser, args: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separate a command's own words from overrides: ``KEY=VALUE``, ``~KEY`` and ``--config-dir DIR``, in any order.

    The value of an option is not an override, nor is any word after ``--``.
    """
    options_with_value = {name for name, action in options_of(parser) if action.nargs is None} - {*CONFIG_DIR}
    command_words: list[str] = []
    overrides: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            command_words += [word, *words]
        elif word in CONFIG_DIR:
            folder = next(words, None)
            if folder is None:
                raise ConfigError([Fault(word, f"no folder. Write {word} DIR.")])
            overrides += [word, folder]
        elif word.startswith(tuple(f"{flag}=" for flag in CONFIG_DIR)) or is_override(word):
            overrides.append(word)
        elif word in options_with_value:
            command_words += [word, *itertools.islice(words, 1)]
        else:
            command_words.append(word)
    return command_words, overrides


def is_override(word: str) -> bool:
    """Return whether a word sets or deletes a value; an option does not, and a path or URL may contain a ``=``."""
    return word.startswith("~") or bool(_OVERRIDE.match(word) and "://" not in word.partition("=")[0])


def options_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield each option string of a parser and of its subparsers, with its action."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from options_of(child)
        yield from ((name, action) for name in action.option_strings)


def _unexpected_words(parser: Parser, words: Sequence[str]) -> Iterator[Fault]:
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    known_flags = [name for name, _ in options_of(parser) if name.startswith("--")]
    for flag in flags:
        of_a_run = flag in RUN_FLAGS or (flag in RUN_FLAGS.values() and flag)
        hint = f"It is a flag of a run: '{PROGRAM} {flag} …', without a command." if of_a_run else ""
        yield unknown(parser.path, "flag", flag, known_flags, hint)
    if not flags:  # a word after an unknown flag may be its value
        for word in words:
            yield Fault(parser.path, f"takes no argument {word!r}. See '{parser.prog} --help'.")


def require_run_flags(args: Iterable[str]) -> None:
    """Raise a ConfigError for a flag that neither Hydra nor pokeflow knows; as in argparse, a prefix is enough."""
    shorts = tuple(filter(None, RUN_FLAGS.values()))
    for word in args:
        flag = word.partition("=")[0]
        long = word.startswith("--") and any(name.startswith(flag) for name in RUN_FLAGS)
        if word.startswith("-") and not long and not (word[1:2] != "-" and word.startswith(shorts)):
            raise ConfigError([unknown("", "flag", flag, RUN_FLAGS, f"See '{PROGRAM} --help'.")])


def take_verbosity(args: Sequence[str]) -> tuple[list[str], int]:
    """Remove ``-q`` and ``-v`` from a run's words; return the others, and the verbosity (below 0: log less)."""
    remaining, verbosity = [], 0
    for word in args:
        if word in QUIET or re.fullmatch(r"-q+", word):
            verbosity -= 1
        elif word in VERBOSE or re.fullmatch(r"-v+", word):
            verbosity += 1 if word in VERBOSE else word.count("v")
        else:
            remaining.append(word)
    return remaining, verbosity
