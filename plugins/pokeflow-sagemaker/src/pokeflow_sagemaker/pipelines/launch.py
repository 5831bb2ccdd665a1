"""Upload and start of a pipeline of the lineage; a start is refused if it may exceed the budget."""

import hashlib
from collections.abc import Mapping
from typing import Any

from pokeflow import ConfigError, Fault, require_budget
from pokeflow.errors import unknown
from pokeflow.objects import ObjectStore
from pokeflow.types import Budget
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.executor.request import instances
from pokeflow_sagemaker.pipelines import control, lineage
from pokeflow_sagemaker.pipelines.lineage import GeneratedPipelines
from pokeflow_sagemaker.pipelines.params import PipelineParams
from pokeflow_sagemaker.pipelines.steps import Pipeline


def choose(generated: GeneratedPipelines, name: str) -> Pipeline:
    """Return the pipeline of this name; raise a ConfigError if the lineage has none."""
    if (pipeline := generated.pipelines.get(name)) is not None:
        return pipeline
    if name in lineage.NAMES:
        raise ConfigError(
            [Fault(name, f"this lineage has no steps for it. Known: {', '.join(generated.pipelines) or 'none'}.")]
        )
    raise ConfigError([unknown("pipeline", "pipeline", name, generated.pipelines)])


def bring(
    params: PipelineParams, generated: GeneratedPipelines, pipeline: Pipeline, start: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Create or update a pipeline on SageMaker, and start it if ``start`` is not None.

    Args:
        params: Parameters of the pipelines; ``budget_usd`` limits the cost of a start.
        generated: All pipelines, with the task files of their jobs.
        pipeline: The pipeline to create or update.
        start: The parameters of the execution; None starts no execution.

    Returns:
        ``pipeline``, ``arn``, ``change`` and ``console``; of a start also ``execution`` and ``at_most_usd``.

    """
    objects = control.open_objects(pipeline)
    costs = most_usd(params, pipeline)
    if start is not None:
        control.parameters(pipeline, start)
        require_budget(Budget.of(params.budget_usd), costs, pipeline.name)
        control.require_needed(pipeline, objects)
    send(objects, pipeline, generated)
    settings = control.prepare(pipeline, objects)
    result = control.upsert(pipeline, objects, settings)
    facts = {"pipeline": pipeline.name, "arn": result.arn, "change": result.change}
    if start is not None:
        facts["execution"] = control.start(pipeline, objects, settings, start)
        total = [usd for usd in costs.values() if usd is not None]
        facts["at_most_usd"] = f"{sum(total):,.2f}" if len(total) == len(costs) else "unknown: a price is not known"
    region = settings.execution_role.region
    facts["console"] = (
        f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/pipelines/{pipeline.name}"
    )
    return facts


def send(objects: ObjectStore, pipeline: Pipeline, generated: GeneratedPipelines) -> None:
    """Upload the task files of a pipeline's jobs; files that are missing or damaged in the store are written."""
    task_keys = {run.task for run in pipeline.runs()}
    for file in generated.files:
        if file.key not in task_keys:
            continue
        existing = objects.stat(file.key)
        sound = (len(file.text), hashlib.sha256(file.text).hexdigest())
        if existing is None or (existing.size, existing.sha256 or sound[1]) != sound:
            objects.write(file.key, file.text, match=None)


def most_usd(params: PipelineParams, pipeline: Pipeline) -> dict[str, float | None]:
    """Return the highest cost of each job in US dollars, at its full time limit; None if no price is known."""
    region = aws.region(params.region)
    costs: dict[str, float | None] = {}
    for run in pipeline.runs():
        machine = run.machine
        hourly = prices.hourly(machine.instance_type, region, machine.prices).usd
        hours = machine.time_limit_seconds / 3600 * instances(machine, run.stage)
        costs[run.name] = None if hourly is None else hourly * hours
    return costs
