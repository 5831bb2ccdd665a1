"""pokeflow plan: what would run, where, what is reused, at what estimated cost."""

from collections.abc import Sequence

from pokeflow import plugins
from pokeflow.cli import _tables as tables
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve
from pokeflow.engine import _runner as runner
from pokeflow.engine import now
from pokeflow.project import check_published


def main(args: Sequence[str]) -> int:
    """Print the plan of a configuration; nothing is written."""
    registry = plugins.registry(plugins.manager())
    flow = resolve(omegaconf.plain(composition.composed(args)), registry)
    check_published(flow)
    print(tables.plan(flow, runner.plan(flow, now()), registry))  # noqa: T201
    return 0
