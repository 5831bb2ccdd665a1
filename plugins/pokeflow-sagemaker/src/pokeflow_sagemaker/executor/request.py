"""Requests that create a job: pure functions of the task, its files in the bucket, and the job's parameters."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pokeflow import Record, RemoteStore
from pokeflow_sagemaker.aws import images
from pokeflow_sagemaker.executor.params import TRAINED, JobParams, Kind
from pokeflow_sagemaker.provision import names

METRICS = (
    "top1_accuracy",
    "top5_accuracy",
    "loss",
    "feature_loss",
    "kl_loss",
    "attention_loss",
    "highfreq_loss",
    "task_accuracy",
    "distillation_gap",
    "cosine_similarity",
)
"""Figures of a training job that CloudWatch shows; the record has all of them."""
LIVE = {"Name": "live:loss", "Regex": r", loss ([0-9.eE+-]+)"}
_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
CHECKPOINTS = "/opt/ml/checkpoints"
_MAX_NAME = 63


class TaskId(Protocol):
    """Identity of a request's task; both ``Task`` and a pipeline's step provide it."""

    @property
    def stage(self) -> str:
        """Stage of the task."""

    @property
    def model(self) -> str:
        """Name of the model that the stage runs for."""

    @property
    def version(self) -> str:
        """Version label of the model."""

    @property
    def digest(self) -> str:
        """Digest of the task."""


@dataclass(frozen=True, slots=True)
class Files:
    """URIs of a job's files: prefixes of the code, the task, SageMaker's output, and the checkpoints."""

    code: str
    task: str
    output: str
    checkpoints: str

    @property
    def attempts_uri(self) -> str:
        """Part of the task URI that depends on the inputs only.

        The rest of the URI depends on settings that do not change the result.
        """
        return self.task.rstrip("/").rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class ExecutionRole:
    """The region of a job, and the ARN of its execution role."""

    region: str
    role: str


def base_name(task: TaskId) -> str:
    """Return the common beginning of all attempts' names: the model's name, cut to AWS's limit, and the digest."""
    model = re.sub(r"[^A-Za-z0-9]+", "-", task.model).strip("-")
    room = _MAX_NAME - len("pokeflow--") - len(task.digest) - len("-999")
    return f"pokeflow-{model[:room].strip('-')}-{task.digest}"


def run_key(inputs: Iterable[Record] = (), replaces: str | None = None) -> str:
    """Return the key of a run: a hash of the inputs' contents and of the record that it replaces."""
    read = sorted((record.task, record.content) for record in inputs)
    return hashlib.sha256(json.dumps([read, replaces]).encode()).hexdigest()[:16]


def files_of(remote_store: RemoteStore, task: TaskId, run: str, code: str, task_file: str) -> Files:
    """Return the URIs of a job's files.

    Args:
        remote_store: The store.
        task: The task.
        run: Key of the run; see ``run_key``.
        code: Key prefix of the uploaded code.
        task_file: Key of ``task.json``.

    """
    key = f"{task.stage}-{task.model}-{task.digest}/{run}"
    return Files(
        code=f"{remote_store.uri}/{code}",
        task=f"{remote_store.uri}/{task_file.rpartition('/')[0]}/",
        output=f"{remote_store.uri}/jobs/output/",
        checkpoints=f"{remote_store.uri}/work/{key}/",
    )


def tags(project: str, task: TaskId) -> list[dict[str, str]]:
    """Return the tags of a job."""
    return names.tags(project, model=task.model, version=task.version, stage=task.stage, run=task.digest)


def request(
    kind: Kind, name: str, task: TaskId, params: JobParams, files: Files, execution_role: ExecutionRole
) -> dict[str, Any]:
    """Return the request that creates a training or processing job.

    Args:
        kind: Kind of the job.
        name: Name of the job.
        task: The task that the job runs.
        params: The executor's parameters.
        files: URIs of the job's files.
        execution_role: Region and execution role.

    """
    build = training if kind == "training" else processing
    return build(name, task, params, files, execution_role)


def training(name: str, task: TaskId, params: JobParams, files: Files, execution_role: ExecutionRole) -> dict[str, Any]:
    """Return the request of ``CreateTrainingJob``; its arguments are those of ``request``."""
    stop = {"MaxRuntimeInSeconds": params.time_limit_seconds}
    if params.spot_wait_seconds is not None:
        stop["MaxWaitTimeInSeconds"] = params.time_limit_seconds + params.spot_wait_seconds
    body: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": execution_role.role,
        "AlgorithmSpecification": {
            "TrainingImage": image(params, execution_role.region),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["bash", "/opt/ml/input/data/code/container.sh"],
            "ContainerArguments": arguments(params, task.stage, "/opt/ml/input/data/task", "/opt/ml/output/failure"),
            "MetricDefinitions": [{"Name": m, "Regex": f"metric {m}={_NUMBER}"} for m in METRICS] + [LIVE],
        },
        "InputDataConfig": [_channel("code", files.code), _channel("task", files.task)],
        "OutputDataConfig": {"S3OutputPath": files.output, **_key("KmsKeyId", params)},
        "ResourceConfig": {
            "InstanceType": params.instance_type,
            "InstanceCount": instances(params, task.stage),
            "VolumeSizeInGB": params.volume_gb,
            **_key("VolumeKmsKeyId", params),
        },
        "CheckpointConfig": {"S3Uri": files.checkpoints, "LocalPath": CHECKPOINTS},
        "StoppingCondition": stop,
        "EnableManagedSpotTraining": params.spot_wait_seconds is not None,
        # SageMaker restarts a job that fails because of an internal error; it resumes from its checkpoint.
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        # SageMaker's profiler is on by default; pokeflow does not read its output.
        "ProfilerConfig": {"DisableProfiler": True},
        "Tags": tags(params.account.project, task),
    }
    if params.network:
        vpc = {"Subnets": list(params.network.subnets), "SecurityGroupIds": list(params.network.security_groups)}
        body |= {"VpcConfig": vpc, "EnableInterContainerTrafficEncryption": params.network.encrypt}
    return body


def processing(
    name: str, task: TaskId, params: JobParams, files: Files, execution_role: ExecutionRole
) -> dict[str, Any]:
    """Return the request of ``CreateProcessingJob``; its arguments are those of ``request``."""
    body: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": execution_role.role,
        "AppSpecification": {
            "ImageUri": image(params, execution_role.region),
            "ContainerEntrypoint": ["bash", "/opt/ml/processing/code/container.sh"],
            "ContainerArguments": arguments(params, task.stage, "/opt/ml/processing/task", "/opt/ml/output/message"),
        },
        "ProcessingInputs": [_input("code", files.code), _input("task", files.task)],
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": params.instance_type,
                "InstanceCount": instances(params, task.stage),
                "VolumeSizeInGB": params.volume_gb,
                **_key("VolumeKmsKeyId", params),
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": params.time_limit_seconds},
        "Tags": tags(params.account.project, task),
    }
    if params.network:
        vpc = {"Subnets": list(params.network.subnets), "SecurityGroupIds": list(params.network.security_groups)}
        body["NetworkConfig"] = {
            "VpcConfig": vpc,
            "EnableInterContainerTrafficEncryption": params.network.encrypt,
            "EnableNetworkIsolation": False,
        }
    return body


def image(params: JobParams, region: str) -> str:
    """Return the URI of a job's image."""
    return images.address(params.container.image or images.PYTORCH, region)


def instances(params: JobParams, stage: str) -> int:
    """Return the number of instances of a stage's job; only training stages run on more than one."""
    return params.instance_count if stage in TRAINED else 1


def arguments(params: JobParams, stage: str, folder: str, failure: str) -> list[str]:
    """Return the arguments of ``container.sh``: ``install`` or not, the task's file, processes, the failure's file.

    Args:
        params: The executor's parameters.
        stage: Stage of the task.
        folder: Folder of ``task.json`` in the container.
        failure: File in the container that SageMaker reads the reason of a failure from.

    """
    each = params.container.processes
    processes = "1" if stage not in TRAINED else "auto" if each is None else str(each)
    return ["install" if params.container.install else "as-it-is", f"{folder}/task.json", processes, failure]


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _input(name: str, uri: str) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": {**source, "S3DataDistributionType": "FullyReplicated"}}


def _key(name: str, params: JobParams) -> Mapping[str, str]:
    return {name: params.account.kms_key} if params.account.kms_key else {}
