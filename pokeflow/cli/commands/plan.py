"""pokeflow plan: what would run, where, what is reused, at what estimated cost."""

from collections.abc import Sequence

import pokeflow
from pokeflow import plugins
from pokeflow.cli import _tables as tables


def main(args: Sequence[str]) -> int:
    """Print the plan of a configuration; nothing is written."""
    flow = pokeflow.load(args)
    print(tables.plan(flow, pokeflow.plan(flow), plugins.registry(plugins.manager())))  # noqa: T201
    return 0
