"""One execution of a pipeline: its steps run one after another, or come from the cache."""

import copy
import json
import operator
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jmespath

from .buckets import read
from .definitions import CALLS, follow_path, order_steps
from .state import OPERATIONS, AwsError, Row, State, now, unique
from .validation import complaint, input_shape, violations

TICK = 0.05
JOBS = {"Training": "TrainingJob", "Processing": "ProcessingJob", "Transform": "TransformJob"}
KINDS = {**JOBS, **{kind: kind for kind in ("Model", "EndpointConfig", "Endpoint")}}
COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


class FailedError(Exception):
    """A step that failed, with a message."""


class StoppedError(Exception):
    """The execution was stopped."""


def seconds(text: str) -> float:
    """Return the seconds of an ISO 8601 duration such as P30D or PT1H."""
    match = re.fullmatch(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", text)
    parts = match.groups() if match else ()
    return float(sum(int(n or 0) * s for n, s in zip(parts, (604800, 86400, 3600, 60, 1), strict=False)))


class Execution:
    """The run of one execution's row."""

    def __init__(self, state: State, row: Row) -> None:
        self.state, self.row = state, row
        self.definition = json.loads(row["PipelineDefinition"])
        self.known: dict[str, Row] = {s["StepName"]: s["Properties"] for s in row["Steps"]}
        self.files: dict[str, Row] = {s["StepName"]: s["Step"] for s in row["Steps"]}
        self.job: tuple[str, str] | None = None
        self.stopping = False

    def stop(self) -> None:
        """Stop after the current step; the caller holds the lock."""
        self.stopping = True
        if self.job:
            kind, name = self.job
            self.state.running[name].want("stop")
            self.state.of(kind)[name][f"{kind}Status"] = "Stopping"

    def run(self) -> None:
        """Run all steps in this thread."""
        status, why = "Succeeded", ""
        try:
            self._steps(self.definition["Steps"])
        except StoppedError:
            status = "Stopped"
        except FailedError as error:
            status, why = "Failed", str(error)
        except Exception as error:  # noqa: BLE001 - any error must end the execution
            status, why = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        with self.state.lock:
            if not self.state.gone:
                self.row |= {"PipelineExecutionStatus": status, "LastModifiedTime": now()}
                self.row |= {"FailureReason": why} if why else {}

    def _steps(self, steps: list[Row]) -> None:
        for step in order_steps(steps):
            if self.stopping or self.state.gone:
                raise StoppedError
            if step["Name"] not in self.known:
                self._step(step)

    def _step(self, step: Row) -> None:
        about: Row = {"StepName": step["Name"], "StartTime": now(), "StepStatus": "Executing", "AttemptCount": 1}
        about |= {"StepDisplayName": step.get("DisplayName"), "StepDescription": step.get("Description")}
        about |= {"Step": step, "Properties": {}}
        with self.state.lock:
            self.row["Steps"].append(about)
        branch: list[Row] = []
        try:
            if step["Type"] == "Condition":
                branch = self._decide(step, about)
            elif step["Type"] == "Fail":
                message = str(self.resolve(step["Arguments"]["ErrorMessage"]))
                about["Metadata"] = {"Fail": {"ErrorMessage": message}}
                raise FailedError(message)
            else:
                self._call(step, about)
        except StoppedError:
            self._end(about, "Stopped")
            raise
        except (FailedError, AwsError) as error:
            about["FailureReason"] = f"ClientError: {error}" if isinstance(error, AwsError) else str(error)
            self._end(about, "Failed")
            raise FailedError(f"Step failure: One or multiple steps failed. ({step['Name']}: {error})") from error
        self._end(about, "Succeeded")
        self._steps(branch)

    def _end(self, about: Row, status: str) -> None:
        with self.state.lock:
            about |= {"StepStatus": status, "EndTime": now()}
        if status == "Succeeded":
            self.known[about["StepName"]] = about["Properties"]
            self.files[about["StepName"]] = about["Step"]

    def _decide(self, step: Row, about: Row) -> list[Row]:
        arguments = step["Arguments"]
        holds = all(self._holds(condition) for condition in arguments["Conditions"])
        about["Metadata"] = {"Condition": {"Outcome": str(holds)}}
        return list(arguments.get("IfSteps" if holds else "ElseSteps") or ())

    def _holds(self, condition: Row) -> bool:
        kind = condition["Type"]
        if kind == "Not":
            return not self._holds(condition["Expression"])
        if kind == "Or":
            return any(self._holds(part) for part in condition["Conditions"])
        if kind == "In":
            return self.resolve(condition["QueryValue"]) in [self.resolve(v) for v in condition["Values"]]
        left, right = self.resolve(condition["LeftValue"]), self.resolve(condition["RightValue"])
        if isinstance(left, str) and isinstance(right, int | float):
            left = float(left)
        return bool(COMPARE[kind](left, right))

    def resolve(self, value: Any) -> Any:
        """Return a value with its references replaced by their values."""
        if isinstance(value, list):
            return [self.resolve(part) for part in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1 and "Get" in value:
            return self._get(value["Get"])
        if len(value) == 1 and "Std:Join" in value:
            join = value["Std:Join"]
            return join["On"].join(str(self.resolve(part)) for part in join["Values"])
        if len(value) == 1 and "Std:JsonGet" in value:
            return self._json(value["Std:JsonGet"])
        return {name: self.resolve(part) for name, part in value.items()}

    def _get(self, reference: str) -> Any:
        where, _, path = reference.partition(".")
        if where == "Parameters":
            return self.row["Values"][path]
        if where == "Execution":
            began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.row["CreationTime"]))
            return {
                "PipelineExecutionId": self.row["PipelineExecutionArn"].rpartition("/")[2],
                "PipelineExecutionArn": self.row["PipelineExecutionArn"],
                "PipelineName": self.row["PipelineName"],
                "PipelineArn": self.row["PipelineArn"],
                "StartDateTime": began,
                "CurrentDateTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }[path]
        name = re.split(r"[.\[]", path)[0]
        try:
            with self.state.lock:
                return copy.deepcopy(follow_path(self.known[name], path.removeprefix(name)))
        except (KeyError, IndexError, StopIteration, TypeError) as error:
            raise FailedError(f"Unable to resolve {reference}: the step has no such property.") from error

    def _json(self, wanted: Row) -> Any:
        reference = wanted["PropertyFile"]["Get"]
        step, name = reference.split(".")[1], reference.rpartition(".")[2]
        file = next(f for f in self.files[step]["PropertyFiles"] if f["PropertyFileName"] == name)
        uri = self._get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{file['OutputName']}'].S3Output.S3Uri")
        try:
            whole = json.loads(read(self.state, f"{uri.rstrip('/')}/{file['FilePath']}"))
        except (KeyError, ValueError) as error:
            raise FailedError(f"Unable to read property file {name} at {uri}.") from error
        value = jmespath.search(wanted["Path"], whole)
        if value is None:
            raise FailedError(f"JsonGet could not find {wanted['Path']} in property file {name}.")
        return value

    def _call(self, step: Row, about: Row) -> None:
        arguments = self.resolve(step["Arguments"])
        about["Key"] = json.dumps([step["Type"], arguments], sort_keys=True)
        if hit := self._find_cached(step, about["Key"]):
            about |= {name: hit[name] for name in ("Metadata", "Properties")}
            about["CacheHitResult"] = {"SourcePipelineExecutionArn": hit["Execution"]}
            return
        tries = {kind: p.get("MaxAttempts", 1) for p in step.get("RetryPolicies") or () for kind in p["ExceptionType"]}
        while True:
            try:
                self._attempt(step, about, arguments)
                return
            except (FailedError, AwsError) as error:
                kind = _kind(error)
                if about["AttemptCount"] > tries.get(kind, 0):
                    raise
                about["AttemptCount"] += 1

    def _find_cached(self, step: Row, key: str) -> Row | None:
        """Return a recent step of this pipeline with the same name and arguments, or None."""
        config = step.get("CacheConfig") or {}
        if not config.get("Enabled"):
            return None
        oldest = now() - seconds(config["ExpireAfter"]) if "ExpireAfter" in config else 0
        with self.state.lock:
            for execution in reversed(self.state.of("PipelineExecution").values()):
                if execution["PipelineArn"] != self.row["PipelineArn"] or execution is self.row:
                    continue
                for done in execution["Steps"]:
                    same = (done["StepName"], done["StepStatus"], done.get("Key")) == (step["Name"], "Succeeded", key)
                    if same and done["StartTime"] > oldest and "CacheHitResult" not in done:
                        return {**done, "Execution": execution["PipelineExecutionArn"]}
        return None

    def _attempt(self, step: Row, about: Row, arguments: Row) -> None:
        operation, member = CALLS[step["Type"]]
        request = copy.deepcopy(arguments)
        if member:
            prefix = request.get(member) or "pipelines"
            run = self.row["PipelineExecutionArn"].rpartition("/")[2]
            request[member] = f"{prefix}-{run}-{step['Name'].replace('_', '-')[:24]}-{unique(10)}"[:63]
        if broken := list(violations(input_shape("sagemaker", operation), request)):
            raise AwsError("ValidationException", complaint(broken))
        with self.state.lock:
            if self.state.gone:
                raise StoppedError
            row = OPERATIONS[operation](self.state, request)
            about["Properties"] = row
            arn = next(v for k, v in row.items() if k in (f"{KINDS.get(step['Type'])}Arn", "ModelPackageArn"))
            about["Metadata"] = {KINDS.get(step["Type"], step["Type"]): {"Arn": arn}}
        if step["Type"] == "Endpoint":
            self._await_endpoint(request["EndpointName"])
        if member.endswith("JobName"):
            self._await(KINDS[step["Type"]], request[member], row)

    def _await_endpoint(self, name: str) -> None:
        while True:
            with self.state.lock:
                if self.state.gone or self.stopping:
                    raise StoppedError
                endpoint = OPERATIONS["DescribeEndpoint"](self.state, {"EndpointName": name})
            if endpoint["EndpointStatus"] == "Failed":
                raise FailedError(endpoint.get("FailureReason") or "The endpoint failed.")
            if endpoint["EndpointStatus"] == "InService":
                return
            time.sleep(TICK)

    def _await(self, kind: str, name: str, row: Row) -> None:
        self.job = (kind, name) if name in self.state.running else None
        try:
            while row[f"{kind}Status"] in ("InProgress", "Stopping"):
                if self.state.gone:
                    raise StoppedError
                time.sleep(TICK)
        finally:
            self.job = None
        if self.stopping and row[f"{kind}Status"] == "Stopped":
            raise StoppedError
        if row[f"{kind}Status"] != "Completed":
            raise FailedError(row.get("FailureReason") or f"The job ended with status {row[f'{kind}Status']}.")


def _kind(error: Exception) -> str:
    """Return the name that retry policies have for a failure."""
    code = getattr(error, "code", "")
    if code == "ResourceLimitExceeded":
        return "SageMaker.RESOURCE_LIMIT"
    if code == "ThrottlingException":
        return "Step.THROTTLING"
    said = str(error)
    return "SageMaker.CAPACITY_ERROR" if said.startswith("CapacityError") else "SageMaker.JOB_INTERNAL_ERROR"
