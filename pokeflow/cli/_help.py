"""Output of ``--help``, ``help`` and ``--version``, for which no command's module is imported."""

import argparse
from importlib import metadata

import pokeflow
from pokeflow import plugins
from pokeflow.cli._arguments import parser_of
from pokeflow.cli._lookup import find, known_commands
from pokeflow.config import GROUPS, options

OVERVIEW = """\
pokeflow: declarative lineages of models. YAML describes them, plugins train and compile them, records document how.

  pokeflow [KEY=VALUE …]             run the lineage; finished tasks are reused
  pokeflow -m KEY=A,B [KEY=VALUE …]  sweep: one trial per combination
  pokeflow COMMAND --help            show the help of a command

commands:
{commands}

KEY=VALUE picks an option of a group (data=folder) or sets a value (data.root=../pictures):
{groups}
  models=[…] stages=[…]  run only these, and what they need    force=[…]  run these models again
  publish=true           publish the results to the project's tree afterwards
-q and -v show less or more of the log, --version the versions; --config-dir DIR adds a folder of YAML.
Hydra's own flags work as well: --cfg job, --info, --multirun, --hydra-help.
Completion of commands, groups, options and keys: eval "$(pokeflow -sc install=bash)", also zsh and fish."""


def overview() -> str:
    """Return the help of ``pokeflow`` itself: the commands, the groups and their options."""
    commands = known_commands()
    width = max(len(command.name) for command in commands)
    names = [group for group in GROUPS if group != "hydra"]
    return OVERVIEW.format(
        commands="\n".join(f"  {command.name:{width}}  {command.summary}" for command in commands),
        groups="\n".join(f"  {group:11} {', '.join(options(group)) or '–'}" for group in names),
    )


def versions() -> str:
    """Return the versions of pokeflow and of each distribution that extends it: plugins, documents, buckets."""
    groups = [group for group in metadata.entry_points().groups if group.partition(".")[0] == plugins.GROUP]
    ours = (entry for group in groups for entry in metadata.entry_points(group=group))
    distributions = {entry.dist.name: entry.dist.version for entry in ours if entry.dist}
    lines = [f"{name} {version}" for name, version in sorted(distributions.items()) if name != "pokeflow"]
    return "\n".join([f"pokeflow {pokeflow.__version__}", *lines])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``pokeflow help``."""
    parser.add_argument("name", nargs="?", help="a command (default: an overview of all commands)")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the help of a command, or the overview."""
    print(parser_of(find(args.name)).format_help().rstrip() if args.name else overview())
    return 0
