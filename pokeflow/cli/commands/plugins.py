"""Command ``plugins``, which lists the installed plugins with their contents, or generates a new one."""

import argparse
from importlib import metadata
from pathlib import Path
from typing import Any

from pokeflow import plugins
from pokeflow.cli._new_plugin import KINDS, write
from pokeflow.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    new = parser.add_subparsers(dest="command").add_parser("new", help="generate a new, working plugin")
    new.add_argument("kind", choices=list(KINDS), help="what the plugin provides")
    new.add_argument("name", help="its name in YAML: lower-case letters, digits and '_'")
    new.add_argument("--to", type=Path, default=Path(), metavar="DIR", help="parent folder (default: the current one)")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """List the plugins or, with ``new KIND NAME``, generate a distribution that works unchanged."""
    if args.command == "new":
        folder = write(args.kind, args.name, args.to)
        path = folder if folder.is_absolute() else f"./{folder}"  # pip would look up a bare name in its index
        print(f"Created {folder}. Next: pip install -e '{path}[test]' && pytest '{folder}/tests'")
    else:
        print(listing())
    return 0


def listing() -> str:
    """Return a row for each plugin: its distribution, backends as stage:name, executors, commands and YAML."""
    pm = plugins.manager()
    plugins.registry(pm)  # raises an error that names the plugin if a hook fails
    plugins.config_packages(pm)
    entries = metadata.entry_points(group=plugins.GROUP)
    versions = {entry.name: f"{entry.dist.name} {entry.dist.version}" for entry in entries if entry.dist}
    contents: dict[str, dict[str, str]] = {}
    for column, hook in (
        ("backends", pm.hook.pokeflow_backends),
        ("executors", pm.hook.pokeflow_executors),
        ("commands", pm.hook.pokeflow_commands),
        ("yaml", pm.hook.pokeflow_config_package),
    ):
        for impl in hook.get_hookimpls():
            items: Any = impl.function()
            names = [items] if isinstance(items, str) else [_name(item) for item in items]
            contents.setdefault(impl.plugin_name, {})[column] = " ".join(names)
    columns = ("backends", "executors", "commands", "yaml")
    rows = [
        (name, versions.get(name, ""), *(cells.get(column, "") for column in columns))
        for name, cells in sorted(contents.items())
    ]
    return table(("plugin", "distribution", *columns), rows)


def _name(item: object) -> str:
    stage, name = getattr(item, "stage", None), getattr(item, "name", "?")
    return f"{stage}:{name}" if stage else str(name)
