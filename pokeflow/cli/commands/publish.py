"""Command ``publish``, which publishes finished results to the project's tree and updates its metadata."""

import argparse

import pokeflow
from pokeflow.cli import _tables as tables
from pokeflow.project import difference, publish


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--dry-run", action="store_true", help="show how the tree differs, and write nothing")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Publish the finished tasks of a configuration; files that are published already are not uploaded again."""
    flow = pokeflow.load(overrides)
    records = {item.step.name: item.record for item in pokeflow.plan(flow) if item.record}
    if args.dry_run:
        print(tables.publication(flow, difference(flow, records), dry_run=True))
        return 0
    print(tables.publication(flow, publish(flow, records)))
    return 0
