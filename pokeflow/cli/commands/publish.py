"""pokeflow publish: put what is made into the project's tree, and bring its metadata up to date."""

import argparse
from collections.abc import Sequence

from pokeflow import project
from pokeflow.cli import _configured as configured
from pokeflow.cli import _tables as tables
from pokeflow.engine import _runner as runner
from pokeflow.engine import now


def main(args: Sequence[str]) -> int:
    """Publish the finished tasks of a configuration; what is there already is not sent again."""
    parser = argparse.ArgumentParser("pokeflow publish", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="show how the tree differs, and write nothing")
    given, overrides = parser.parse_known_args(args)
    flow = configured.flow(overrides)
    records = {item.step.name: item.record for item in runner.plan(flow, now()) if item.record}
    if given.dry_run:
        print(tables.publication(flow, project.difference(flow, records), dry_run=True))  # noqa: T201
        return 0
    print(tables.publication(flow, project.publish(flow, records)))  # noqa: T201
    return 0
