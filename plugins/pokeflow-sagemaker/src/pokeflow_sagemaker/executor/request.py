"""The requests that make a job: of a task, its files in the bucket, and the configured machine; nothing else."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pokeflow import Record, Shared
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
"""Figures that CloudWatch shows of a training job; all of them are in the record."""
LIVE = {"Name": "live:loss", "Regex": r", loss ([0-9.eE+-]+)"}
_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
CHECKPOINTS = "/opt/ml/checkpoints"
_LONGEST_NAME = 63


class TaskId(Protocol):
    """The identity of a request's task: a ``Task`` has it, and a step of a pipeline."""

    @property
    def stage(self) -> str:
        """What is done."""

    @property
    def model(self) -> str:
        """To which model."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def digest(self) -> str:
        """The task's digest."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a job's files lie: prefixes of the code and of the task, and of what it leaves, as URIs."""

    code: str
    task: str
    output: str
    checkpoints: str

    @property
    def making(self) -> str:
        """The part that the URIs of a making's tasks have in common: they differ in what changes no result."""
        return self.task.rstrip("/").rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class RunsAs:
    """Whose job it is: the region, and the ARN of the role it runs as."""

    region: str
    role: str


def base_name(task: TaskId) -> str:
    """Return the beginning of all attempts' names: the model's name as far as there is room, the digest."""
    model = re.sub(r"[^A-Za-z0-9]+", "-", task.model).strip("-")
    room = _LONGEST_NAME - len("pokeflow--") - len(task.digest) - len("-999")
    return f"pokeflow-{model[:room].strip('-')}-{task.digest}"


def making_key(inputs: Iterable[Record] = (), replaces: str | None = None) -> str:
    """Return the key of one making of a task, from its inputs' contents and the record that it replaces."""
    read = sorted((record.task, record.content) for record in inputs)
    return hashlib.sha256(json.dumps([read, replaces]).encode()).hexdigest()[:16]


def files_of(shared: Shared, task: TaskId, making: str, code: str, task_file: str) -> Files:
    """The URIs of a job's files, from their keys."""
    key = f"{task.stage}-{task.model}-{task.digest}/{making}"
    return Files(
        code=f"{shared.uri}/{code}",
        task=f"{shared.uri}/{task_file.rpartition('/')[0]}/",
        output=f"{shared.uri}/jobs/output/",
        checkpoints=f"{shared.uri}/work/{key}/",
    )


def tags(project: str, task: TaskId) -> list[dict[str, str]]:
    """A job's tags."""
    return names.tags(project, model=task.model, version=task.version, stage=task.stage, run=task.digest)


def request(kind: Kind, name: str, task: TaskId, params: JobParams, files: Files, place: RunsAs) -> dict[str, Any]:
    """The whole request of a training or processing job."""
    make = training if kind == "training" else processing
    return make(name, task, params, files, place)


def training(name: str, task: TaskId, params: JobParams, files: Files, place: RunsAs) -> dict[str, Any]:
    """``CreateTrainingJob``."""
    stop = {"MaxRuntimeInSeconds": params.time_limit_seconds}
    if params.spot_wait_seconds is not None:
        stop["MaxWaitTimeInSeconds"] = params.time_limit_seconds + params.spot_wait_seconds
    body: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": place.role,
        "AlgorithmSpecification": {
            "TrainingImage": image(params, place.region),
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
        # What fails for a fault of AWS's own is begun again, and goes on from its checkpoint.
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        # SageMaker's own profiler is on unless it is turned off, and nobody reads it.
        "ProfilerConfig": {"DisableProfiler": True},
        "Tags": tags(params.account.project, task),
    }
    if params.network:
        vpc = {"Subnets": list(params.network.subnets), "SecurityGroupIds": list(params.network.security_groups)}
        body |= {"VpcConfig": vpc, "EnableInterContainerTrafficEncryption": params.network.encrypt}
    return body


def processing(name: str, task: TaskId, params: JobParams, files: Files, place: RunsAs) -> dict[str, Any]:
    """``CreateProcessingJob``."""
    body: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": place.role,
        "AppSpecification": {
            "ImageUri": image(params, place.region),
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
    """The image that a job runs in."""
    return images.address(params.container.image or images.PYTORCH, region)


def instances(params: JobParams, stage: str) -> int:
    """Return how many machines a stage's job has: what is not trained runs on one alone."""
    return params.instance_count if stage in TRAINED else 1


def arguments(params: JobParams, stage: str, folder: str, failure: str) -> list[str]:
    """Return the arguments of ``container.sh``: whether to install, the task, processes, the file for a failure."""
    each = params.container.processes
    processes = "1" if stage not in TRAINED else "auto" if each is None else str(each)
    return ["install" if params.container.install else "as-it-is", f"{folder}/task.json", processes, failure]


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _input(name: str, uri: str) -> dict[str, Any]:
    place = {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": {**place, "S3DataDistributionType": "FullyReplicated"}}


def _key(name: str, params: JobParams) -> Mapping[str, str]:
    return {name: params.account.kms_key} if params.account.kms_key else {}
