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
    """One run of a task that produces a model."""

    id: Annotated[str, describe_field("Id of this run: a hash of task, digest and start.", pattern="^[0-9a-f]{16}$")]
    task: Annotated[str, describe_field("The task's name, stage:model.")]
    stage: Annotated[str, describe_field("The stage that ran.")]
    model: Annotated[str, describe_field("The model that was produced.")]
    version: Annotated[
        str, describe_field("Its version in the configuration at that time; any number of runs share one.")
    ]
    type: ModelType
    digest: Annotated[str, describe_field("Digest of everything that determined the result.")]
    content: Annotated[str, describe_field("Digest of the files of the result.")]
    backend: Backend
    revision: Revision
    executor: Annotated[str, describe_field("Executor of the run.")]
    status: Annotated[Literal["finished"], describe_field("Only finished runs leave a record.")]
    started: Started
    finished: Finished
    seconds: Seconds
    cost_usd: Cost
    params: Params
    inputs: Inputs
    metrics: Figures
    experiment: Annotated[str | None, describe_field("Experiment of the run in the tracking server.")]
    run_id: Annotated[str | None, describe_field("Id of the run in the tracking server.")]
    tracking_uri: Annotated[str | None, describe_field("Address of the tracking server.")]
    reasons: Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """Every run that ever produced a model; entries are only added."""

    project: ProjectName
    schema_version: SchemaVersion
    runs: Annotated[list[Entry], describe_field("The runs, sorted by (started, id).")]
