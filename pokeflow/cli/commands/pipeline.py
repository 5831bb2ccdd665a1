"""pokeflow pipeline: the lineage as pipelines of the cloud: written, published, brought there, and started."""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence

from pokeflow import plugins
from pokeflow.cli import _configured as configured
from pokeflow.cli import _services as services
from pokeflow.cli import _tables as tables
from pokeflow.cli._arguments import asked
from pokeflow.engine import _runner as runner
from pokeflow.engine import now
from pokeflow.errors import ConfigError, Fault, unknown
from pokeflow.flow import PIPELINE, PROJECT, Flow
from pokeflow.project._publish import publish
from pokeflow.types import Record

ACTIONS = ("upsert", "start")


def main(args: Sequence[str]) -> int:
    """Without a name: write and publish all, and list them. With one: bring it there as well, or start it."""
    parser = argparse.ArgumentParser("pokeflow pipeline", description=__doc__)
    parser.add_argument("name", nargs="?", help="such as teacher_pipeline; without one they are written and listed")
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="upsert", help="what to do with it (upsert)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the execution")
    given, overrides = asked(parser, args, pairs=("--set",))
    if bad := [pair for pair in given.set if "=" not in pair]:
        raise ConfigError([Fault("--set", f"{bad[0]!r} is not KEY=VALUE.")])
    flow = dataclasses.replace(configured.flow(overrides), command=shlex.join(["pokeflow", PIPELINE, *args]))
    service = services.service(flow, PIPELINE)
    if given.name is not None and flow.shared is None:
        message = f"{given.name} is to run from a bucket, and this store has none. Choose store=s3."
        raise ConfigError([Fault("store.remote", message)])
    if PIPELINE not in {step.stage for step in flow.steps}:
        raise ConfigError([Fault(PIPELINE, "pipelines are of the whole lineage: leave out models=… and stages=….")])
    record = _written(flow)
    if given.name is not None and given.name not in record.facts["pipelines"]:
        raise ConfigError([unknown("pipeline", "pipeline", given.name, record.facts["pipelines"])])
    done = publish(flow, {record.task: record})
    if given.name is None:
        print(tables.table(("pipeline", "does"), record.facts["pipelines"].items()))  # noqa: T201
        print(f"\n{tables.publication(flow, dataclasses.replace(done, gaps=()))}")  # noqa: T201
        return 0
    told = dict(pair.split("=", 1) for pair in given.set)
    tasks = flow.step(f"{PIPELINE}:{PROJECT}").params.tasks
    service = services.asked(service, name=given.name, action=given.action, given=told, tasks=tasks)
    print(services.told(services.run(flow, service).facts))  # noqa: T201
    return 0


def _written(flow: Flow) -> Record:
    """The record of the pipelines as they are written now."""
    only = dataclasses.replace(flow, steps=(flow.step(f"{PIPELINE}:{PROJECT}"),), publish=False, tracking=None)
    pm = plugins.manager()
    return runner.run(only, plugins.registry(pm), pm.hook, now()).records[f"{PIPELINE}:{PROJECT}"]
