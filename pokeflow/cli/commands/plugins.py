"""Command ``plugins``, which lists the installed plugins with their contents, or generates a new one."""

import argparse
from importlib import metadata
from pathlib import Path
from typing import Any

from pokeflow import plugins
from pokeflow.cli._new_plugin import KINDS, write
from pokeflow.text import table


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    new = parser.add_subparsers(dest="command").add_parser("new", help="a new plugin that works as it is")
    new.add_argument("kind", choices=list(KINDS), help="what it brings")
    new.add_argument("name", help="lower-case letters, digits and '_': what YAML will call it")
    new.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="where its folder is made; default: here")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """List the plugins or, with ``new KIND NAME``, generate a distribution that works unchanged."""
    if given.command == "new":
        folder = write(given.kind, given.name, given.to)
        place = folder if folder.is_absolute() else f"./{folder}"  # pip would look up a bare name in its index
        print(f"Created {folder}. Next: pip install -e '{place}[test]' && pytest {folder}/tests")  # noqa: T201
    else:
        print(listing())  # noqa: T201
    return 0


def listing() -> str:
    """Return a row for each plugin: its distribution, backends as stage:name, executors, commands and YAML."""
    pm = plugins.manager()
    plugins.registry(pm)  # raises an error that names the plugin if a hook fails
    plugins.config_packages(pm)
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
