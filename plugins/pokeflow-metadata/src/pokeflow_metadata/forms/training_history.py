"""Form of ``training_history.json``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pokeflow.schema import describe_field
from pokeflow_metadata.forms.common import (
    Backend,
    Cost,
    Figures,
    Finished,
    Inputs,
    ModelType,
    Params,
    ProjectName,
    Reasons,
    Revision,
    SchemaVersion,
    Seconds,
    Started,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run of a task that makes a model."""

    id: Annotated[str, describe_field("Of this run: a hash of task, digest and start.", pattern="^[0-9a-f]{16}$")]
    task: Annotated[str, describe_field("The task's name, stage:model.")]
    stage: Annotated[str, describe_field("The stage that ran.")]
    model: Annotated[str, describe_field("The model that was made.")]
    version: Annotated[
        str, describe_field("Its version in the configuration at that time; any number of runs share one.")
    ]
    type: ModelType
    digest: Annotated[str, describe_field("Of all that decided the result.")]
    content: Annotated[str, describe_field("Of the files that were left.")]
    backend: Backend
    revision: Revision
    executor: Annotated[str, describe_field("Where it ran.")]
    status: Annotated[Literal["finished"], describe_field("Only finished runs leave a record.")]
    started: Started
    finished: Finished
    seconds: Seconds
    cost_usd: Cost
    params: Params
    inputs: Inputs
    metrics: Figures
    experiment: Annotated[str | None, describe_field("The experiment that tracking keeps the run in.")]
    run_id: Annotated[str | None, describe_field("The run's id in tracking.")]
    tracking_uri: Annotated[str | None, describe_field("Where that tracking is.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """Every run that made a model, ever; only ever added to."""

    project: ProjectName
    schema_version: SchemaVersion
    runs: Annotated[list[Entry], describe_field("The runs, sorted by (started, id).")]
