"""Shell completion: ``eval "$(pokeflow -sc install=bash)"`` installs it, ``-sc query=SHELL`` prints candidates.

Candidates are commands with their options, groups with their options, and keys of the configuration that the words
before compose to. For zsh and fish, Hydra's own scripts install the completion; they send the same query.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from pokeflow import config
from pokeflow.cli._arguments import RUN_FLAGS, is_override, options_of, parser_of, split
from pokeflow.cli._lookup import find, known_commands
from pokeflow.errors import ConfigError, PokeflowError, unknown

BASH = r"""
_pokeflow_complete() {
    local line="${COMP_LINE:0:$COMP_POINT}" IFS=$'\n'
    COMPREPLY=($(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" "${1/#\~/$HOME}" -sc query=bash 2>/dev/null))
    # Readline completes what follows the last of its word breaks, such as "=", not the whole word.
    local word="${line##*[[:space:]]}"
    local before="${word%"${word##*[$COMP_WORDBREAKS]}"}"
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]]; then compopt -o nospace; fi
}
complete -o default -F _pokeflow_complete pokeflow
"""
BASH_UNINSTALL = "complete -r pokeflow; unset -f _pokeflow_complete"
ACTIONS, SHELLS = ("install", "uninstall", "query"), ("bash", "fish", "zsh")


def run(args: Sequence[str]) -> int:
    """Print the script that installs or removes completion, or the candidates for a shell's query."""
    action, _, shell = (args[0] if len(args) == 1 else "").partition("=")
    if action not in ACTIONS:
        examples = [f"{action}=bash" for action in ACTIONS[:2]]
        raise ConfigError([unknown("--shell-completion", "action", " ".join(args), examples)])
    if shell not in SHELLS:
        raise ConfigError([unknown(f"--shell-completion {action}", "shell", shell, SHELLS)])
    if action == "query":
        print("\n".join(query(os.environ.get("COMP_LINE", ""), os.environ.get("COMP_POINT", ""))))
    elif shell == "bash":
        print(BASH.strip() if action == "install" else BASH_UNINSTALL)
    else:
        _hydra(args)
    return 0


def query(line: str, point: str = "") -> list[str]:
    """Return the candidates for the word at position ``point`` of a command line, sorted; an empty list if unknown."""
    line = line[: int(point)] if point.isdecimal() else line
    words = line.split()
    word = words.pop() if words and not line[-1:].isspace() else ""
    candidates: set[str] = set()
    with suppress(PokeflowError):  # if the words so far do not compose, there are no keys to offer
        candidates.update(_candidates(words[1:], word))
    return sorted(candidate for candidate in candidates if candidate.startswith(word))


def _candidates(before: Sequence[str], word: str) -> Iterator[str]:
    words = [item for item in before if item not in ("-q", "-v", "--quiet", "--verbose")]
    names = [command.name for command in known_commands()]
    if words and words[0] in names:
        yield from _of_command(words[0], words[1:], word)
        return
    if not words and not word.startswith("-"):
        yield from names
    if word.startswith("-"):
        yield from RUN_FLAGS
    else:
        yield from _overrides(words, word)


def _of_command(name: str, before: Sequence[str], word: str) -> Iterator[str]:
    command = find(name)
    parser: argparse.ArgumentParser = parser_of(command)
    positionals = [item for item in before if not item.startswith("-") and not is_override(item)]
    for action in parser._actions:  # if a subcommand is named, use its parser
        if isinstance(action, argparse._SubParsersAction) and positionals and positionals[0] in action.choices:
            parser = action.choices[positionals[0]]
            break
    options = dict(options_of(parser))
    previous = options.get(before[-1]) if before else None
    if previous is not None and previous.nargs is None:
        yield from map(str, previous.choices or ())  # the value of an option: without choices the shell offers files
    elif word.startswith("-"):
        yield from (option for option in options if option.startswith("--"))
    else:
        for action in parser._actions:
            yield from map(str, () if action.option_strings else action.choices or ())
        if name == "help":
            yield from (command.name for command in known_commands())
        if command.overrides:
            yield from _overrides(before, word)


def _overrides(before: Sequence[str], word: str) -> Iterator[str]:
    """Yield groups with their options, and the keys of the configuration."""
    sign = "+" * (len(word) - len(word.lstrip("+"))) or "~" * word.startswith("~")
    key, equals, value = word.removeprefix(sign).partition("=")
    _, overrides = split(argparse.ArgumentParser(), before)
    if equals:
        # In a list, such as experiment=[cpu,targets], the last item is completed.
        typed = value[: max(value.rfind(c) for c in ",[") + 1]
        yield from (f"{sign}{key}={typed}{option}" for option in config.choices(key, overrides).options)
    else:
        parent, slash, _ = key.rpartition("/")
        for group in config.choices(parent, overrides).groups:
            name = f"{parent}{slash}{group}"
            below = config.choices(name, overrides) if name.startswith(key) else ((), ())
            yield from (f"{sign}{name}{end}" for end, names in zip("/=", below, strict=True) if names)
        yield from (f"{sign}{name}" for name in _keys(config.compose_plain(overrides), key))


def _keys(data: Any, key: str) -> Iterator[str]:
    """Yield the keys below the last dot, followed by ``.`` if they have subkeys, else by ``=``."""
    head, dot, _ = key.rpartition(".")
    for name in head.split(".") if head else ():
        data = data.get(name) if isinstance(data, dict) else None
    for name, value in data.items() if isinstance(data, dict) else ():
        yield f"{head}{dot}{name}{'.' if isinstance(value, dict) and value else '='}"


def _hydra(words: Sequence[str]) -> None:
    """Print Hydra's own completion script for a shell."""
    import hydra

    sys.argv[1:] = ["-sc", *words]
    hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name="config")(lambda cfg: None)()
