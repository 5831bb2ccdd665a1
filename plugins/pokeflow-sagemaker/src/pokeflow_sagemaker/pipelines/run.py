"""Stage ``pipeline``: writes the pipelines' files; with a name from the command line, brings one to SageMaker."""

import hashlib
import logging
from typing import Any

from pokeflow import ConfigError, Fault, Result, Task, require_budget
from pokeflow.errors import unknown
from pokeflow.objects import Objects
from pokeflow.types import Budget
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.executor.request import instances
from pokeflow_sagemaker.pipelines import control, lineage, text
from pokeflow_sagemaker.pipelines.lineage import Written
from pokeflow_sagemaker.pipelines.params import PipelineParams
from pokeflow_sagemaker.pipelines.steps import Pipeline

log = logging.getLogger(__name__)


def run(task: Task) -> Result:
    """Write ``<name>.py`` for each pipeline that the lineage has steps for; then do what the command line asks.

    Facts of the writing: ``pipelines``, a sentence each. Of a command: ``pipeline``, ``arn``, ``change``, and for a
    start ``execution`` and ``at_most_usd``.
    """
    params: PipelineParams = task.params
    written = lineage.write(params, task.shared)
    for name, pipeline in written.pipelines.items():
        (task.output / f"{name}.py").write_text(text.file(name, pipeline), encoding="utf-8")
    if params.action == "write" or task.digest:  # a task of a flow writes, whatever YAML says of the command
        return Result(facts={"pipelines": {name: pipeline.about for name, pipeline in written.pipelines.items()}})
    return Result(facts=_bring(params, _chosen(params, written), written))


def _chosen(params: PipelineParams, written: Written) -> Pipeline:
    if (found := written.pipelines.get(params.name or "")) is not None:
        return found
    if params.name in lineage.NAMES:
        raise ConfigError([Fault(str(params.name), "this lineage has no steps for it.")])
    raise ConfigError([unknown("pipeline", "pipeline", params.name, written.pipelines)])


def _bring(params: PipelineParams, pipeline: Pipeline, written: Written) -> dict[str, Any]:
    objects = control.opened(pipeline)
    most = most_usd(params, pipeline)
    if params.action == "start":
        control.parameters(pipeline, params.given)
        require_budget(Budget.of(params.budget_usd), most, pipeline.name)
        control.require_needed(pipeline, objects)
    send(objects, pipeline, written)
    found = control.where(pipeline, objects)
    brought = control.upsert(pipeline, objects, found)
    facts = {"pipeline": pipeline.name, "arn": brought.arn, "change": brought.change}
    if params.action == "start":
        facts["execution"] = control.start(pipeline, objects, found, params.given)
        total = [usd for usd in most.values() if usd is not None]
        facts["at_most_usd"] = f"{sum(total):,.2f}" if len(total) == len(most) else "unknown: a price is not known"
    region = found.place.region
    facts["console"] = (
        f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/pipelines/{pipeline.name}"
    )
    return facts


def send(objects: Objects, pipeline: Pipeline, written: Written) -> None:
    """Put the files of a pipeline's tasks where its jobs find them, also in the place of one that is damaged."""
    wanted = {run.task for run in pipeline.runs()}
    for file in written.files:
        if file.key not in wanted:
            continue
        found = objects.stat(file.key)
        sound = (len(file.text), hashlib.sha256(file.text).hexdigest())
        if found is None or (found.size, found.sha256 or sound[1]) != sound:
            objects.write(file.key, file.text, match=None)


def most_usd(params: PipelineParams, pipeline: Pipeline) -> dict[str, float | None]:
    """What each job costs at most, if it takes all of its time limit; None where no price is known."""
    region = aws.region(params.region)
    found: dict[str, float | None] = {}
    for run in pipeline.runs():
        machine = run.machine
        hourly = prices.hourly(machine.instance_type, region, machine.prices).usd
        hours = machine.time_limit_seconds / 3600 * instances(machine, run.stage)
        found[run.name] = None if hourly is None else hourly * hours
    return found
