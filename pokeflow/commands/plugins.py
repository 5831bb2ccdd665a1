"""pokeflow plugins: the installed plugins and what each brings."""

import argparse
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from pokeflow import plugins
from pokeflow.report import table


def main(args: Sequence[str]) -> int:
    """Print a line for each plugin: its distribution, backends as stage:name, executors and YAML."""
    argparse.ArgumentParser("pokeflow plugins", description=__doc__).parse_args(args)
    pm = plugins.manager()
    entries = metadata.entry_points(group=plugins.GROUP)
    versions = {entry.name: f"{entry.dist.name} {entry.dist.version}" for entry in entries if entry.dist}
    brought: dict[str, dict[str, str]] = {}
    for column, hook in (
        ("backends", pm.hook.pokeflow_backends),
        ("executors", pm.hook.pokeflow_executors),
        ("yaml", pm.hook.pokeflow_config_package),
    ):
        for impl in hook.get_hookimpls():
            found: Any = impl.function()
            names = [found] if isinstance(found, str) else [_name(item) for item in found]
            brought.setdefault(impl.plugin_name, {})[column] = " ".join(names)
    rows = [
        (name, versions.get(name, ""), what.get("backends", ""), what.get("executors", ""), what.get("yaml", ""))
        for name, what in sorted(brought.items())
    ]
    print(table(("plugin", "distribution", "backends", "executors", "yaml"), rows))  # noqa: T201
    return 0


def _name(item: object) -> str:
    stage, name = getattr(item, "stage", None), getattr(item, "name", "?")
    return f"{stage}:{name}" if stage else str(name)
