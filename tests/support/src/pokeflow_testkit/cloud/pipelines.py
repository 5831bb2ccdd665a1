"""Pipelines: defined, changed, executed step by step through the jobs that the steps ask for."""

import copy
import json
import threading
from typing import Any

from .buckets import check_role, read
from .definitions import parameter_values, parse
from .execution import Execution
from .rows import Kind, kind, page, turned
from .state import AwsError, Row, State, invalid, now, operation, unique


def _definition(state: State, asked: Row) -> str | None:
    if place := asked.get("PipelineDefinitionS3Location"):
        return read(state, f"s3://{place['Bucket']}/{place['ObjectKey']}").decode()
    return asked.get("PipelineDefinition")


def _check(state: State, row: Row) -> None:
    check_role(state, row["RoleArn"])
    text = _definition(state, row)
    if text is None:
        raise invalid("Either PipelineDefinition or PipelineDefinitionS3Location must be given.")
    parse(text)
    row |= {"PipelineDefinition": text, "PipelineStatus": "Active", "PipelineVersionId": 1}
    row.setdefault("PipelineDisplayName", row["PipelineName"])


def _changed(state: State, row: Row, asked: Row) -> None:
    if "RoleArn" in asked:
        check_role(state, asked["RoleArn"])
    if (text := _definition(state, asked)) is not None:
        parse(text)
        row["PipelineVersionId"] += 1
        asked["PipelineDefinition"] = text


PIPELINE = kind(
    Kind(
        "Pipeline",
        "pipeline",
        "PipelineName",
        missing=("ResourceNotFound", "Pipeline '{arn}' does not exist."),
        taken=(
            "ValidationException",
            "Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already "
            "exists.",
        ),
        check=_check,
        changed=_changed,
        operations=("Describe", "Update", "List"),
    )
)


@operation("CreatePipeline")
def create_pipeline(state: State, asked: Row) -> Row:
    """A pipeline; the same token makes it once."""
    return state.once("CreatePipeline", asked, "ClientRequestToken", lambda: PIPELINE.create(state, asked))


@operation("DeletePipeline")
def delete_pipeline(state: State, asked: Row) -> Row:
    """The pipeline that was, unless an execution of it runs."""
    row = PIPELINE.describe(state, asked)
    mine = [e for e in state.of("PipelineExecution").values() if e["PipelineArn"] == row["PipelineArn"]]
    if any(e["PipelineExecutionStatus"] in ("Executing", "Stopping") for e in mine):
        raise AwsError("ConflictException", f"Pipeline {row['PipelineName']} has executions that run.")
    for execution in mine:
        state.of("PipelineExecution").pop(execution["PipelineExecutionArn"])
    return PIPELINE.delete(state, {"PipelineName": row["PipelineName"]})


@operation("StartPipelineExecution")
def start(state: State, asked: Row) -> Row:
    """An execution that runs in a thread of its own; the same token starts it once."""
    return state.once("StartPipelineExecution", asked, "ClientRequestToken", lambda: _started(state, asked))


def _started(state: State, asked: Row) -> Row:
    pipeline = PIPELINE.describe(state, {"PipelineName": asked["PipelineName"]})
    definition = json.loads(pipeline["PipelineDefinition"])
    name = unique()
    row: Row = {
        "PipelineName": pipeline["PipelineName"],
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineExecutionArn": f"{pipeline['PipelineArn']}/execution/{name}",
        "PipelineExecutionDisplayName": asked.get("PipelineExecutionDisplayName") or f"execution-{name}",
        "PipelineExecutionDescription": asked.get("PipelineExecutionDescription"),
        "PipelineExecutionStatus": "Executing",
        "PipelineVersionId": pipeline["PipelineVersionId"],
        "PipelineDefinition": pipeline["PipelineDefinition"],
        "RoleArn": asked.get("RoleArn") or pipeline["RoleArn"],
        "Values": parameter_values(definition, asked.get("PipelineParameters") or []),
        "Steps": [],
        "CreationTime": now(),
        "StartTime": now(),
        "LastModifiedTime": now(),
    }
    pipeline["LastRunTime"] = now()
    state.of("PipelineExecution")[row["PipelineExecutionArn"]] = row
    _run(state, row)
    return row


def _run(state: State, row: Row) -> None:
    execution = row["Execution"] = Execution(state, row)
    threading.Thread(target=execution.run, daemon=True, name=row["PipelineExecutionArn"]).start()


def _found(state: State, asked: Row) -> Row:
    arn = asked["PipelineExecutionArn"]
    if arn not in state.of("PipelineExecution"):
        raise AwsError("ResourceNotFound", f"Pipeline execution {arn} does not exist.")
    return state.of("PipelineExecution")[arn]


@operation("DescribePipelineExecution")
def describe(state: State, asked: Row) -> Row:
    """An execution."""
    return _found(state, asked)


@operation("StopPipelineExecution")
def stop(state: State, asked: Row) -> Row:
    """An execution whose job is stopped and which goes no further."""
    row = _found(state, asked)
    if row["PipelineExecutionStatus"] != "Executing":
        raise AwsError("ConflictException", f"Pipeline execution is in status {row['PipelineExecutionStatus']}.")
    row["PipelineExecutionStatus"] = "Stopping"
    row["Execution"].stop()
    return row


@operation("RetryPipelineExecution")
def retry(state: State, asked: Row) -> Row:
    """An execution that failed or was stopped, taken up where it ended."""
    row = _found(state, asked)
    if row["PipelineExecutionStatus"] not in ("Failed", "Stopped"):
        raise AwsError("ConflictException", f"Pipeline execution is in status {row['PipelineExecutionStatus']}.")
    row["Steps"] = [step for step in row["Steps"] if step["StepStatus"] == "Succeeded"]
    row.pop("FailureReason", None)
    row["PipelineExecutionStatus"] = "Executing"
    _run(state, row)
    return row


@operation("ListPipelineExecutions")
def executions(state: State, asked: Row) -> Row:
    """The executions of a pipeline."""
    pipeline = PIPELINE.describe(state, {"PipelineName": asked["PipelineName"]})
    mine = [e for e in state.of("PipelineExecution").values() if e["PipelineArn"] == pipeline["PipelineArn"]]
    asked = {name: value for name, value in asked.items() if name != "PipelineName"}
    return page("ListPipelineExecutions", [_summary(row) for row in mine], asked)


def _summary(row: Row) -> Row:
    why = row.get("FailureReason")
    return {**{k: v for k, v in row.items() if k != "Execution"}, "PipelineExecutionFailureReason": why}


@operation("ListPipelineExecutionSteps")
def steps(state: State, asked: Row) -> Row:
    """The steps that have begun, the last first."""
    row = _found(state, asked)
    begun = copy.deepcopy(row["Steps"])
    falling = asked.get("SortOrder", "Descending") == "Descending"
    return turned("PipelineExecutionSteps", begun[::-1] if falling else begun, asked)


@operation("ListPipelineParametersForExecution")
def parameters(state: State, asked: Row) -> Row:
    """The parameters of an execution, as text."""
    values: Any = _found(state, asked)["Values"].items()
    return turned("PipelineParameters", [{"Name": name, "Value": str(value)} for name, value in values], asked)


@operation("DescribePipelineDefinitionForExecution")
def definition_of(state: State, asked: Row) -> Row:
    """The definition that an execution runs by."""
    return _found(state, asked)
