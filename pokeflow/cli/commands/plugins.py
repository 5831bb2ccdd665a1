"""The installed plugins and what each brings; or a new one that works as it is."""

import argparse
import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from pokeflow import plugins
from pokeflow.config import options
from pokeflow.errors import ConfigError, Fault
from pokeflow.text import table

SKELETON = Path(__file__).parent.parent / "skeleton" / "target"
SUFFIX = ".txt"
"""Ends the names of the skeleton's files here: they are no part of pokeflow."""
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
LONGEST = 40


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    new = parser.add_subparsers(dest="command").add_parser("new", help="a new plugin that works as it is")
    new.add_argument("kind", choices=["target"])
    new.add_argument("name", help="lower-case letters, digits and '_': what target= will be given")
    new.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="where its folder is made; default: here")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """List the plugins, or with ``new target NAME`` write a distribution that works as it is."""
    if given.command == "new":
        folder = write(given.name, given.to)
        place = folder if folder.is_absolute() else f"./{folder}"  # pip would take a mere name from its index
        print(f"{folder}: made. Next: pip install -e '{place}[test]' && pytest {folder}/tests")  # noqa: T201
    else:
        print(listing())  # noqa: T201
    return 0


def listing() -> str:
    """A line for each plugin: its distribution, backends as stage:name, executors, commands and YAML."""
    pm = plugins.manager()
    entries = metadata.entry_points(group=plugins.GROUP)
    versions = {entry.name: f"{entry.dist.name} {entry.dist.version}" for entry in entries if entry.dist}
    brought: dict[str, dict[str, str]] = {}
    for column, hook in (
        ("backends", pm.hook.pokeflow_backends),
        ("executors", pm.hook.pokeflow_executors),
        ("commands", pm.hook.pokeflow_commands),
        ("yaml", pm.hook.pokeflow_config_package),
    ):
        for impl in hook.get_hookimpls():
            found: Any = impl.function()
            names = [found] if isinstance(found, str) else [_name(item) for item in found]
            brought.setdefault(impl.plugin_name, {})[column] = " ".join(names)
    columns = ("backends", "executors", "commands", "yaml")
    rows = [
        (name, versions.get(name, ""), *(what.get(column, "") for column in columns))
        for name, what in sorted(brought.items())
    ]
    return table(("plugin", "distribution", *columns), rows)


def _name(item: object) -> str:
    stage, name = getattr(item, "stage", None), getattr(item, "name", "?")
    return f"{stage}:{name}" if stage else str(name)


def write(name: str, to: Path) -> Path:
    """Write the skeleton of a target's plugin into a new folder below ``to``; ConfigError where it cannot be made."""
    if not NAME.fullmatch(name) or len(name) > LONGEST or not isinstance(yaml.safe_load(name), str):
        message = (
            f"{name!r} is no name for a target: lower-case letters, digits and '_', at most {LONGEST}, no word of "
        )
        raise ConfigError([Fault("name", f"{message}YAML's own.")])
    folder = to / f"pokeflow-{name.replace('_', '-')}"
    if name in options("target") or find_spec(f"pokeflow_{name}"):
        raise ConfigError([Fault("name", f"{name!r} is taken: an installed plugin brings it. Choose another.")])
    if not to.is_dir():
        raise ConfigError([Fault("--to", f"no folder {to}. Make it, or name another.")])
    if folder.exists() or folder.is_symlink():
        raise ConfigError([Fault("name", f"{folder} exists. Choose another name, or another place with --to.")])
    title = name.title().replace("_", "")
    for source in sorted(SKELETON.rglob(f"*{SUFFIX}")):
        path = str(source.relative_to(SKELETON)).removesuffix(SUFFIX)
        text = source.read_text(encoding="utf-8").replace("pokeflow-acme", folder.name)
        file = folder / path.replace("acme", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("acme", name).replace("Acme", title), encoding="utf-8")
    return folder
