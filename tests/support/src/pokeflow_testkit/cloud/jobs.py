"""Training and processing jobs that run in containers: created, stopped, interrupted."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from . import machines
from .buckets import check_image, check_role, split
from .container import why_not
from .life import Job
from .rows import Kind, kind
from .state import AwsError, Row, State, invalid, operation


def _instances(state: State, types: list[str]) -> None:
    for instance in types:
        if instance in state.trouble.limited:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{instance} for training job usage' is 0 Instances, with current "
                "utilization of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to "
                "request an increase for this quota.",
            )


def _check_training(state: State, row: Row) -> None:
    algorithm, condition, spot = row["AlgorithmSpecification"], row["StoppingCondition"], _spot(row)
    if bool(algorithm.get("TrainingImage")) == bool(algorithm.get("AlgorithmName")):
        raise invalid("Either TrainingImage or AlgorithmName must be given, and not both.")
    if not algorithm.get("TrainingImage") or algorithm["TrainingInputMode"] == "Pipe":
        raise AwsError("NotInTheTestCloud", "Algorithms by name and Pipe mode: add them to pokeflow_testkit/cloud")
    check_image(algorithm["TrainingImage"], state.region)
    check_role(state, row["RoleArn"])
    longest, wait = condition.get("MaxRuntimeInSeconds", 86400), condition.get("MaxWaitTimeInSeconds")
    if spot and (wait is None or wait < longest):
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if wait is not None and not spot:
        raise invalid("MaxWaitTimeInSeconds can only be given with EnableManagedSpotTraining.")
    if "InstanceType" not in row["ResourceConfig"]:
        raise AwsError("NotInTheTestCloud", "Instance groups: add them to pokeflow_testkit/cloud")
    _instances(state, [row["ResourceConfig"]["InstanceType"]])
    for channel in row.get("InputDataConfig") or ():
        source = channel["DataSource"].get("S3DataSource")
        if source is None or source["S3DataType"] != "S3Prefix":
            raise AwsError("NotInTheTestCloud", "Inputs other than S3Prefix: add them to pokeflow_testkit/cloud")
        bare = source["S3Uri"]
        if not machines.buckets.list_objects(state, bare):
            raise invalid(
                f'No S3 objects found under S3 URL "{bare}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({state.region}), that objects exist under that S3 prefix, and that "
                f'the role "{row["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{split(bare)[0]}".'
            )
    machines.inside(machines.Path("x"), machines.checkpoints(row)[1])
    _runnable()
    row |= {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Starting", "SecondaryStatusTransitions": []}
    if row.get("ProfilerConfig") and not row["ProfilerConfig"].get("DisableProfiler"):
        row["ProfilingStatus"] = "Enabled"


def _spot(row: Row) -> bool:
    return bool(row.get("EnableManagedSpotTraining"))


def _check_processing(state: State, row: Row) -> None:
    check_image(row["AppSpecification"]["ImageUri"], state.region)
    check_role(state, row["RoleArn"])
    _instances(state, [row["ProcessingResources"]["ClusterConfig"]["InstanceType"]])
    for item in row.get("ProcessingInputs") or ():
        if "S3Input" not in item or item["S3Input"].get("S3DataType") != "S3Prefix":
            raise AwsError("NotInTheTestCloud", "Inputs other than S3Prefix: add them to pokeflow_testkit/cloud")
    paths = [item["S3Input"]["LocalPath"] for item in row.get("ProcessingInputs") or ()]
    for path in paths + [output["LocalPath"] for output in machines.outputs(row)]:
        if not path.startswith("/opt/ml/processing/"):
            raise invalid(f"LocalPath {path} must begin with /opt/ml/processing/.")
    _runnable()
    row.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": 86400})
    row["ProcessingJobStatus"] = "InProgress"


def _runnable() -> None:
    if reason := why_not():
        raise AwsError("NotInTheTestCloud", f"Jobs cannot run on this machine: {reason}")


def _begin(prefix: str) -> Callable[[State, Row], None]:
    def begin(state: State, row: Row) -> None:
        job = state.running[row[f"{prefix}JobName"]] = Job(state, row, prefix)
        job.start()

    return begin


MISSING = ("ValidationException", "Requested resource not found.")
TRAINING = kind(
    Kind(
        "TrainingJob",
        "training-job",
        "TrainingJobName",
        missing=MISSING,
        taken=(
            "ResourceInUse",
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            "already exists ({arn})",
        ),
        check=_check_training,
        after_create=_begin("Training"),
        operations=("Create", "Describe", "List"),
    )
)
PROCESSING = kind(
    Kind(
        "ProcessingJob",
        "processing-job",
        "ProcessingJobName",
        missing=("ValidationException", "Could not find requested job with name: {name}"),
        taken=(
            "ResourceInUse",
            "Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})",
        ),
        check=_check_processing,
        after_create=_begin("Processing"),
        operations=("Create", "Describe", "List"),
    )
)


def _stop(state: State, known: Kind, name: str, prefix: str) -> Row:
    row = known.find(state, name)
    status = row[f"{prefix}JobStatus"]
    if status != "InProgress":
        raise invalid(f"The request was rejected because the {prefix.lower()} job is in status {status}.")
    row[f"{prefix}JobStatus"] = "Stopping"
    state.running[row[f"{prefix}JobName"]].want("stop")
    return {}


@operation("StopTrainingJob")
def stop_training(state: State, request: Row) -> Row:
    """Stop a training job by SIGTERM, and SIGKILL later; the model's folder is kept."""
    return _stop(state, TRAINING, request["TrainingJobName"], "Training")


@operation("StopProcessingJob")
def stop_processing(state: State, request: Row) -> Row:
    """Stop a processing job likewise."""
    return _stop(state, PROCESSING, request["ProcessingJobName"], "Processing")


def interrupt(state: State, name: str) -> None:
    """Interrupt a spot training job."""
    with state.lock:
        row = TRAINING.find(state, name)
        if not _spot(row):
            raise invalid(f"The training job {name} is not of managed spot training.")
        if row["TrainingJobStatus"] != "InProgress":
            raise invalid(f"The training job {name} is in status {row['TrainingJobStatus']}.")
        state.running[name].want("interrupt")


def kill_all(state: State) -> None:
    """Kill every job of a region at once."""
    jobs = list(state.running.values())
    for job in jobs:
        job.want("kill")
    for job in jobs:
        job.thread.join(10)


def credentials(name: str) -> Row:
    """Return the credentials of a container's role."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return {
        "AccessKeyId": f"ASIA-{name}",
        "SecretAccessKey": "of-the-role",
        "Token": "of-the-role",
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def finished(state: State, name: str) -> Any:
    """Return the job's thread, to wait for it without the lock."""
    return state.running[name].thread


__all__ = ["PROCESSING", "TRAINING", "credentials", "finished", "interrupt", "kill_all"]
