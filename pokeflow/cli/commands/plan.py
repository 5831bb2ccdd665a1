"""Command ``plan``, which shows the tasks that would run, where and at what estimated cost, and the reused ones."""

import argparse

import pokeflow
from pokeflow import plugins
from pokeflow.cli import _tables as tables


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the plan of a configuration without writing anything."""
    flow = pokeflow.load(overrides)
    print(tables.plan(flow, pokeflow.plan(flow), plugins.registry(plugins.manager())))
    return 0
