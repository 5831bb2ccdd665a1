"""pokeflow plan: what would run, where, what is reused, at what estimated cost."""

from collections.abc import Sequence

from pokeflow import compose, config, engine, plugins, report
from pokeflow.making import now
from pokeflow.resolve import resolve
from pokeflow.tree import versions


def main(args: Sequence[str]) -> int:
    """Print the plan of a configuration; nothing is written."""
    registry = plugins.registry(plugins.manager())
    flow = resolve(config.plain(compose.composed(args)), registry)
    versions.check(flow)
    print(report.plan(flow, engine.plan(flow, now()), registry))  # noqa: T201
    return 0
