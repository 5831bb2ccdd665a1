"""Command ``pokeflow pipeline``: writes and publishes the lineage's pipelines, and upserts or starts one."""

import argparse
import dataclasses
import shlex

import pokeflow
from pokeflow import ConfigError, Fault, Record, text
from pokeflow.flow import Flow
from pokeflow.stages import PIPELINE, PROJECT
from pokeflow.text import format_facts, table
from pokeflow_sagemaker.commands.options import params_of

ACTIONS = ("upsert", "start")
TASK = f"{PIPELINE}:{PROJECT}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("name", nargs="?", help="such as teacher_pipeline; without one they are written and listed")
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="upsert", help="what to do with it (upsert)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the execution")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Write and publish all pipelines; list them, or with a name upsert that one, and start it on ``start``."""
    from pokeflow_sagemaker.pipelines import launch, lineage

    name, given = arguments.name, arguments.set
    if bad := [pair for pair in given if "=" not in pair]:
        raise ConfigError([Fault("--set", f"{bad[0]!r} is not KEY=VALUE.")])
    own = [*([name, arguments.action] if name else []), *(word for pair in given for word in ("--set", pair))]
    flow = dataclasses.replace(pokeflow.load(overrides), command=shlex.join(["pokeflow", PIPELINE, *overrides, *own]))
    params_of(flow, PIPELINE)
    if name is not None and flow.shared is None:
        message = f"{name} is to run from a bucket, and this store has none. Choose store=s3."
        raise ConfigError([Fault("store.remote", message)])
    if PIPELINE not in {step.stage for step in flow.steps}:
        raise ConfigError([Fault(PIPELINE, "pipelines are of the whole lineage: leave out models=… and stages=….")])
    params = flow.step(TASK).params
    written = lineage.write(params, flow.shared)
    pipeline = None if name is None else launch.choose(written, name)
    record = _write(flow)
    published = pokeflow.publish(flow, {TASK: record})
    if pipeline is None:
        print(table(("pipeline", "does"), record.facts["pipelines"].items()))  # noqa: T201
        sent = text.format_count(sum(len(comparison.to_send) for comparison in published.comparisons), "file")
        documents = ", ".join(published.documents)
        metadata = f"metadata written: {documents}" if documents else "metadata is up to date"
        print(f"\n{flow.shared.uri if flow.shared else flow.root}/{flow.tree}: {sent} sent; {metadata}.")  # noqa: T201
        return 0
    start = dict(pair.split("=", 1) for pair in given) if arguments.action == "start" else None
    print(format_facts(launch.bring(params, written, pipeline, start)))  # noqa: T201
    return 0


def _write(flow: Flow) -> Record:
    """Run the task that writes the pipelines, alone, and return its record."""
    only = dataclasses.replace(flow, steps=(flow.step(TASK),), publish=False, tracking=None)
    return pokeflow.run(only).records[TASK]
