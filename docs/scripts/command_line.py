"""Write the command line's reference from its own parsers."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

from markup import prose, table

from pokeflow import plugins
from pokeflow.cli._arguments import CONFIG_DIR, QUIET, RUN_FLAGS, VERBOSE, parser_of
from pokeflow.cli._lookup import known_commands
from pokeflow.config import distribution_of
from pokeflow.errors import EXIT_UNAVAILABLE, STOPPED, ConfigError, PokeflowError
from pokeflow.types import Command

ROOT = Path(__file__).parents[2]
COMMON = {"-h", "--help", *CONFIG_DIR, *QUIET, *VERBOSE}
FLAG_TEXT = {
    "--cfg": "Print the composed configuration (`job`, `hydra` or `all`) and run nothing.",
    "--config-dir": "A folder with more YAML, searched last.",
    "--config-name": "Another main file than `config`.",
    "--config-path": "Another folder than `conf`; prefer a folder `conf` in the current one.",
    "--experimental-rerun": "Run again from a pickled configuration of Hydra's.",
    "--help": "The commands, the groups and their options.",
    "--hydra-help": "The flags of Hydra itself.",
    "--info": "What Hydra found: plugins, search path, defaults list.",
    "--multirun": "A sweep: one trial for each combination of `KEY=A,B`.",
    "--package": "With `--cfg`: print this part of the configuration only.",
    "--quiet": "Show warnings and errors only.",
    "--resolve": "With `--cfg`: replace interpolations by their values.",
    "--run": "A single run, which is the default.",
    "--shell-completion": "Install or remove completion: `install=bash`, `uninstall=bash`, also `zsh` and `fish`.",
    "--verbose": "Show more of the log, and where an error is raised.",
    "--version": "The versions of pokeflow and its plugins.",
}

VARIABLES = {
    "MLFLOW_S3_STORE_CACHE": ("Folder of the working copies of MLflow on S3.", "`~/.cache/mlflow-s3-store`"),
    "MLFLOW_S3_STORE_FLUSH_SECONDS": ("Seconds between two publications of MLflow on S3.", "5"),
    "MLFLOW_S3_STORE_FRESH_SECONDS": ("Seconds for which data read from MLflow on S3 are reused.", "2"),
    "POKEFLOW_CARDS": ("Folder with `cards.csv` and `images/`, for `experiment=full`.", ""),
    "POKEFLOW_EDGE_FROM": (
        "Source of a device's hourly updates, in `/etc/pokeflow-edge/update.conf` on the device.",
        "",
    ),
    "POKEFLOW_HAILO_DEVICE": ("Machine with the Hailo chip, as `user@host`.", "this machine"),
    "POKEFLOW_HAILO_HOST": ("Machine with Hailo's compiler, as `user@host`.", "this machine"),
    "POKEFLOW_HAILO_PYTHON": ("Interpreter that can import Hailo's compiler.", "`python3`, `python3.12`, …"),
    "POKEFLOW_REMOTE": ("Bucket of `store=s3`, as `s3://bucket/prefix`.", ""),
    "POKEFLOW_SIGNING_KEY": ("File of the key that signs releases for devices.", "`~/.config/pokeflow/signing.pem`"),
    "POKEFLOW_SSH_CONFIG": ("Configuration file of ssh.", "`~/.ssh/config`"),
    "POKEFLOW_STORE": ("Folder of the store, `store.root`.", "`store`"),
}
"""Environment variables that users set, each with its meaning and its default."""
INTERNAL = {"POKEFLOW_MLFLOW_", "POKEFLOW_SINCE", "POKEFLOW_VERBOSITY"}
"""Variables that pokeflow sets for its own processes, or reads under a former name."""


def overview() -> str:
    """Return a table of all commands, one per line."""
    rows = [(f"[`{c.name}`](#{_anchor(c)})", _sentence(c.summary), f"`{_distribution(c)}`") for c in known_commands()]
    return table(("command", "what it does", "distribution"), rows)


def details() -> str:
    """Return a section for each command: usage, arguments, options."""
    return "\n\n".join(_section(command) for command in known_commands())


def run_flags() -> str:
    """Return the flags of ``pokeflow`` without a command."""
    rows = [(", ".join(f"`{w}`" for w in (long, short) if w), FLAG_TEXT[long]) for long, short in RUN_FLAGS.items()]
    return table(("flag", "what it does"), rows)


def exit_codes() -> str:
    """Return the exit codes, with the numbers in the code."""
    rows = (
        (0, "All is done. Of a run: every task has a result. `help`, `plan` and `publish --dry-run` changed nothing."),
        (PokeflowError.exit_code, "Something failed: a task, a trial of a sweep, the disk. What is finished is kept."),
        (
            ConfigError.exit_code,
            "The input is wrong: the configuration, a flag, a name. Every fault is printed; nothing was changed.",
        ),
        (
            EXIT_UNAVAILABLE,
            "Nothing failed, but a task needs something unavailable: a vendor's compiler, a device. The rest is done; "
            "the next run tries again.",
        ),
        (130, "Interrupted by Ctrl-C (SIGINT). Finished tasks are kept; the same command resumes."),
        (141, "The reader of the output ended, as in `pokeflow ls | head`."),
        (STOPPED, "Ended by SIGTERM. As after Ctrl-C, the same command resumes."),
    )
    return table(("code", "meaning"), [(f"`{code}`", text) for code, text in rows])


def environment() -> str:
    """Return the environment variables that users set, with meaning and default.

    Raises:
        LookupError: If the code or the shipped YAML reads a variable that ``VARIABLES`` does not describe.

    """
    files = [*ROOT.glob("pokeflow/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py"), *ROOT.glob("conf/**/*.yaml")]
    files += ROOT.glob("plugins/*/src/*/conf/**/*.yaml")
    names = {name for file in files if "testing" not in file.parts for name in _variables(file)}
    if missing := names - VARIABLES.keys() - INTERNAL:
        raise LookupError(f"{__file__}: VARIABLES does not describe {', '.join(sorted(missing))}.")
    rows = [(f"`{name}`", meaning, default) for name, (meaning, default) in VARIABLES.items()]
    return table(("variable", "meaning", "default"), rows)


def _variables(file: Path) -> Iterator[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".yaml":
        yield from re.findall(r"\$\{oc\.env:(POKEFLOW_\w+)", text)
        return
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"POKEFLOW_[A-Z0-9_]+", node.value)
        ):
            yield node.value


def _section(command: Command) -> str:
    parser = parser_of(command)
    parts = [f"### `{command.name}` {{ #{_anchor(command)} }}", _sentence(command.summary), _usage(parser)]
    parts += filter(None, [_arguments(parser)])
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                parts += [f"#### `{command.name} {name}`", _usage(child), _arguments(child)]
    takes = "It takes the overrides of a run (`KEY=VALUE`) and `--config-dir`." if command.overrides else ""
    return "\n\n".join(filter(None, [*parts, takes or "It composes no configuration: `KEY=VALUE` is refused."]))


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return f"```text\n{usage}\n```"


def _arguments(parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:
        if COMMON & set(action.option_strings) or isinstance(action, argparse._SubParsersAction):
            continue
        default = (
            "" if action.default in (None, False, argparse.SUPPRESS) or action.nargs == 0 else f"`{action.default}`"
        )
        rows.append(
            (
                _name(action),
                prose((action.help or "") % vars(action) if "%(" in (action.help or "") else action.help or ""),
                default,
            )
        )
    return table(("argument", "meaning", "default"), rows) if rows else ""


def _name(action: argparse.Action) -> str:
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`" if not action.choices else f"`{value}`"
    return ", ".join(f"`{name}`" if action.nargs == 0 else f"`{name} {value}`" for name in action.option_strings)


def _sentence(summary: str) -> str:
    return prose(summary[:1].upper() + summary[1:] + ".")


def _anchor(command: Command) -> str:
    return f"pokeflow-{command.name}"


def _distribution(command: Command) -> str:
    if command.run.startswith("pokeflow."):
        return "pokeflow"
    return distribution_of("command", command.name) or _package(command)


def _package(command: Command) -> str:
    return command.run.partition(".")[0].replace("_", "-")


def commands_of_plugins() -> list[str]:
    """Return the names of the commands that plugins provide."""
    return sorted(plugins.commands(plugins.manager()))
