"""Pipelines: created, updated, and executed step by step through the jobs of their steps."""

import copy
import json
import threading
from typing import Any

from .buckets import check_role, read
from .definitions import parameter_values, parse
from .execution import Execution
from .rows import Kind, kind, page, page_of
from .state import AwsError, Row, State, invalid, now, operation, unique


def _definition(state: State, request: Row) -> str | None:
    if location := request.get("PipelineDefinitionS3Location"):
        return read(state, f"s3://{location['Bucket']}/{location['ObjectKey']}").decode()
    return request.get("PipelineDefinition")


def _check(state: State, row: Row) -> None:
    check_role(state, row["RoleArn"])
    text = _definition(state, row)
    if text is None:
        raise invalid("Either PipelineDefinition or PipelineDefinitionS3Location must be given.")
    parse(text)
    row |= {"PipelineDefinition": text, "PipelineStatus": "Active", "PipelineVersionId": 1}
    row.setdefault("PipelineDisplayName", row["PipelineName"])


def _update(state: State, row: Row, request: Row) -> None:
    if "RoleArn" in request:
        check_role(state, request["RoleArn"])
    if (text := _definition(state, request)) is not None:
        parse(text)
        row["PipelineVersionId"] += 1
        request["PipelineDefinition"] = text


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
        changed=_update,
        operations=("Describe", "Update", "List"),
    )
)


@operation("CreatePipeline")
def create_pipeline(state: State, request: Row) -> Row:
    """Create a pipeline; the same token creates it once."""
    return state.once("CreatePipeline", request, "ClientRequestToken", lambda: PIPELINE.create(state, request))


@operation("DeletePipeline")
def delete_pipeline(state: State, request: Row) -> Row:
    """Delete a pipeline, unless an execution of it runs."""
    row = PIPELINE.describe(state, request)
    mine = [e for e in state.of("PipelineExecution").values() if e["PipelineArn"] == row["PipelineArn"]]
    if any(e["PipelineExecutionStatus"] in ("Executing", "Stopping") for e in mine):
        raise AwsError("ConflictException", f"Pipeline {row['PipelineName']} has executions that run.")
    for execution in mine:
        state.of("PipelineExecution").pop(execution["PipelineExecutionArn"])
    return PIPELINE.delete(state, {"PipelineName": row["PipelineName"]})


@operation("StartPipelineExecution")
def start(state: State, request: Row) -> Row:
    """Start an execution in a thread; the same token starts it once."""
    return state.once("StartPipelineExecution", request, "ClientRequestToken", lambda: _start_execution(state, request))


def _start_execution(state: State, request: Row) -> Row:
    pipeline = PIPELINE.describe(state, {"PipelineName": request["PipelineName"]})
    definition = json.loads(pipeline["PipelineDefinition"])
    name = unique()
    row: Row = {
        "PipelineName": pipeline["PipelineName"],
        "PipelineArn": pipeline["PipelineArn"],
        "PipelineExecutionArn": f"{pipeline['PipelineArn']}/execution/{name}",
        "PipelineExecutionDisplayName": request.get("PipelineExecutionDisplayName") or f"execution-{name}",
        "PipelineExecutionDescription": request.get("PipelineExecutionDescription"),
        "PipelineExecutionStatus": "Executing",
        "PipelineVersionId": pipeline["PipelineVersionId"],
        "PipelineDefinition": pipeline["PipelineDefinition"],
        "RoleArn": request.get("RoleArn") or pipeline["RoleArn"],
        "Values": parameter_values(definition, request.get("PipelineParameters") or []),
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


def _execution_of(state: State, request: Row) -> Row:
    arn = request["PipelineExecutionArn"]
    if arn not in state.of("PipelineExecution"):
        raise AwsError("ResourceNotFound", f"Pipeline execution {arn} does not exist.")
    return state.of("PipelineExecution")[arn]


@operation("DescribePipelineExecution")
def describe(state: State, request: Row) -> Row:
    """Describe an execution."""
    return _execution_of(state, request)


@operation("StopPipelineExecution")
def stop(state: State, request: Row) -> Row:
    """Stop an execution and its current job."""
    row = _execution_of(state, request)
    if row["PipelineExecutionStatus"] != "Executing":
        raise AwsError("ConflictException", f"Pipeline execution is in status {row['PipelineExecutionStatus']}.")
    row["PipelineExecutionStatus"] = "Stopping"
    row["Execution"].stop()
    return row


@operation("RetryPipelineExecution")
def retry(state: State, request: Row) -> Row:
    """Resume an execution that failed or was stopped."""
    row = _execution_of(state, request)
    if row["PipelineExecutionStatus"] not in ("Failed", "Stopped"):
        raise AwsError("ConflictException", f"Pipeline execution is in status {row['PipelineExecutionStatus']}.")
    row["Steps"] = [step for step in row["Steps"] if step["StepStatus"] == "Succeeded"]
    row.pop("FailureReason", None)
    row["PipelineExecutionStatus"] = "Executing"
    _run(state, row)
    return row


@operation("ListPipelineExecutions")
def executions(state: State, request: Row) -> Row:
    """List the executions of a pipeline."""
    pipeline = PIPELINE.describe(state, {"PipelineName": request["PipelineName"]})
    mine = [e for e in state.of("PipelineExecution").values() if e["PipelineArn"] == pipeline["PipelineArn"]]
    request = {name: value for name, value in request.items() if name != "PipelineName"}
    return page("ListPipelineExecutions", [_summary(row) for row in mine], request)


def _summary(row: Row) -> Row:
    why = row.get("FailureReason")
    return {**{k: v for k, v in row.items() if k != "Execution"}, "PipelineExecutionFailureReason": why}


@operation("ListPipelineExecutionSteps")
def steps(state: State, request: Row) -> Row:
    """List the steps that have started, the last one first."""
    row = _execution_of(state, request)
    started = copy.deepcopy(row["Steps"])
    falling = request.get("SortOrder", "Descending") == "Descending"
    return page_of("PipelineExecutionSteps", started[::-1] if falling else started, request)


@operation("ListPipelineParametersForExecution")
def parameters(state: State, request: Row) -> Row:
    """List the parameters of an execution, as text."""
    values: Any = _execution_of(state, request)["Values"].items()
    return page_of("PipelineParameters", [{"Name": name, "Value": str(value)} for name, value in values], request)


@operation("DescribePipelineDefinitionForExecution")
def definition_of(state: State, request: Row) -> Row:
    """Return the definition of an execution."""
    return _execution_of(state, request)
