"""pokeflow publish: put what is made into the project's tree, and bring its metadata up to date."""

import argparse
from collections.abc import Sequence

from pokeflow import engine, report
from pokeflow.commands import configured
from pokeflow.making import now
from pokeflow.tree import publish


def main(args: Sequence[str]) -> int:
    """Publish the finished tasks of a configuration; what is there already is not sent again."""
    parser = argparse.ArgumentParser("pokeflow publish", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="show how the tree differs, and write nothing")
    given, overrides = parser.parse_known_args(args)
    flow = configured.flow(overrides)
    records = {item.step.name: item.record for item in engine.plan(flow, now()) if item.record}
    if given.dry_run:
        print(report.publication(flow, publish.difference(flow, records), dry_run=True))  # noqa: T201
        return 0
    print(report.publication(flow, publish.publish(flow, records)))  # noqa: T201
    return 0
