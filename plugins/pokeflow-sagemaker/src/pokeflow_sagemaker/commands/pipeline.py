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
    parser.add_argument(
        "name",
        nargs="?",
        help="name of a pipeline, such as teacher_pipeline; without a name all are written and listed",
    )
    parser.add_argument(
        "action", nargs="?", choices=ACTIONS, default="upsert", help="action on this pipeline (default: upsert)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="parameter of the execution")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Write and publish all pipelines; list them, or with a name upsert that one, and start it on ``start``."""
    from pokeflow_sagemaker.pipelines import launch, lineage

    name, pairs = arguments.name, arguments.set
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise ConfigError([Fault("--set", f"{bad[0]!r} is not KEY=VALUE.")])
    action_words = [*([name, arguments.action] if name else []), *(word for pair in pairs for word in ("--set", pair))]
    flow = dataclasses.replace(
        pokeflow.load(overrides), command=shlex.join(["pokeflow", PIPELINE, *overrides, *action_words])
    )
    params_of(flow, PIPELINE)
    if name is not None and flow.remote_store is None:
        message = f"{name} needs a store with a bucket. Set store=s3."
        raise ConfigError([Fault("store.remote", message)])
    if PIPELINE not in {step.stage for step in flow.steps}:
        raise ConfigError(
            [Fault(PIPELINE, "pipelines are generated from the whole lineage. Leave out models=… and stages=….")]
        )
    params = flow.step(TASK).params
    generated = lineage.write(params, flow.remote_store)
    pipeline = None if name is None else launch.choose(generated, name)
    record = _write(flow)
    published = pokeflow.publish(flow, {TASK: record})
    if pipeline is None:
        print(table(("pipeline", "does"), record.facts["pipelines"].items()))
        upload_count = text.format_count(sum(len(comparison.to_send) for comparison in published.comparisons), "file")
        documents = ", ".join(published.documents)
        metadata = f"metadata written: {documents}" if documents else "metadata is up to date"
        store_uri = flow.remote_store.uri if flow.remote_store else flow.root
        print(f"\n{store_uri}/{flow.tree}: {upload_count} sent; {metadata}.")
        return 0
    start = dict(pair.split("=", 1) for pair in pairs) if arguments.action == "start" else None
    print(format_facts(launch.bring(params, generated, pipeline, start)))
    return 0


def _write(flow: Flow) -> Record:
    """Run the task that writes the pipelines, alone, and return its record."""
    only = dataclasses.replace(flow, steps=(flow.step(TASK),), publish=False, tracking=None)
    return pokeflow.run(only).records[TASK]
