"""Requests satisfy botocore's model of SageMaker, whatever the parameters."""

import dataclasses
import json
import string
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow import NoParams, RemoteStore, Task
from pokeflow_sagemaker.executor import request as requests
from pokeflow_sagemaker.executor import run
from pokeflow_sagemaker.executor.jobs import NAMES
from pokeflow_sagemaker.executor.params import (
    Account,
    Client,
    Container,
    JobParams,
    VpcConfig,
    check,
    kind_of,
)
from pokeflow_sagemaker.executor.request import ExecutionRole, Files
from pokeflow_testkit.cloud import validation

ROLE = "arn:aws:iam::123456789012:role/service-role/job"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c"
WHERE = ExecutionRole("us-east-1", ROLE)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
HEX = st.text("0123456789abcdef", min_size=16, max_size=16)
STAGES = ("prepare", "train", "distill", "compile", "benchmark", "bundle", "register", "profile")


def task(model: str = "teacher", stage: str = "train", version: str = "v1.0", digest: str = "0" * 16) -> Task:
    anywhere = Path("-")
    return Task(stage, "toy", model, version, "teacher", digest, NoParams(), (), anywhere, anywhere)


def files(item: Task, uri: str = "s3://bucket/p") -> Files:
    return requests.files_of(
        RemoteStore(uri), item, run.run_key(item), "jobs/code/0123456789abcdef/", "jobs/d/m/h/task.json"
    )


ids = st.text(string.ascii_lowercase + string.digits, min_size=8, max_size=17)
accounts = st.builds(
    Account,
    project=st.text(min_size=1, max_size=300),
    region=st.none(),
    role=st.none() | st.just(ROLE),
    kms_key=st.none() | st.just(KEY),
)
networks = st.builds(
    VpcConfig,
    subnets=st.lists(ids.map("subnet-{}".format), min_size=1, max_size=5).map(tuple),
    security_groups=st.lists(ids.map("sg-{}".format), min_size=1, max_size=5).map(tuple),
    encrypt=st.booleans(),
)
params = st.builds(
    JobParams,
    instance_type=st.sampled_from(["ml.m5.xlarge", "ml.g5.12xlarge", "ml.p4d.24xlarge"]),
    instance_count=st.integers(1, 100),
    volume_gb=st.integers(1, 16_384),
    time_limit_seconds=st.integers(60, 432_000),
    spot_wait_seconds=st.none() | st.integers(0, 432_000),
    job=st.none() | st.sampled_from(["training", "processing"]),
    container=st.builds(
        Container,
        image=st.none() | st.just("123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"),
        install=st.booleans(),
        processes=st.none() | st.integers(1, 64),
    ),
    network=st.none() | networks,
    account=accounts,
    client=st.just(Client()),
).filter(lambda wanted: not list(check(wanted)))


def body_of(item: Task, wanted: JobParams) -> tuple[str, dict[str, Any]]:
    kind = kind_of(wanted, item.stage)
    name = requests.base_name(item)
    return NAMES[kind].kind, requests.request(kind, name, item, wanted, files(item), WHERE)


def complaints(kind: str, body: dict[str, Any]) -> list[str]:
    shape = validation.input_shape("sagemaker", f"Create{kind}Job")
    return [ParamValidator().validate(body, shape).generate_report(), *validation.violations(shape, body)]


@settings(max_examples=40, deadline=None)
@given(params, NAME, st.sampled_from(STAGES), NAME | st.just(""), HEX)
def test_sagemaker_takes_every_request(wanted, model, stage, version, digest):
    item = task(model, stage, version, digest)
    kind, body = body_of(item, wanted)
    assert list(filter(None, complaints(kind, body))) == []
    assert len(body[f"{kind}JobName"]) <= 63 - len("-999")
    assert digest in body[f"{kind}JobName"]
    # Drivers log these fields, so they are absent.
    assert {"Environment", "HyperParameters"} & body.keys() == set()
    assert {tag["Key"] for tag in body["Tags"]} <= {
        f"pokeflow:{k}" for k in ("project", "model", "version", "stage", "run")
    }


def changed(**change: Any) -> str:
    """Return the parts of a training job's and a processing job's request that a parameter changes."""
    default, other = JobParams(), dataclasses.replace(JobParams(), **change)
    bodies = [[body_of(task(stage=stage), p) for stage in ("train", "compile")] for p in (default, other)]
    before, after = (json.dumps(b, sort_keys=True).split(", ") for b in bodies)
    return ", ".join(part for part in after if part not in before)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"instance_type": "ml.c5.xlarge"}, '"InstanceType": "ml.c5.xlarge"'),
        ({"instance_count": 3}, '"InstanceCount": 3'),
        ({"volume_gb": 77}, '"VolumeSizeInGB": 77'),
        ({"time_limit_seconds": 777}, '"MaxRuntimeInSeconds": 777'),
        ({"spot_wait_seconds": 100}, '"MaxWaitTimeInSeconds": 86500'),
        ({"spot_wait_seconds": 0}, '"EnableManagedSpotTraining": true'),
        ({"job": "processing"}, '"Processing"'),
        ({"container": Container(image="1.dkr.ecr.eu-west-1.amazonaws.com/x")}, '1.dkr.ecr.eu-west-1.amazonaws.com/x"'),
        ({"container": Container(install=False)}, '"as-it-is"'),
        ({"container": Container(processes=4)}, '"4"'),
        ({"network": VpcConfig(("subnet-12345678",), ("sg-12345678",), encrypt=True)}, '"EnableInterContainer'),
        ({"network": VpcConfig(("subnet-12345678",), ("sg-12345678",))}, '"subnet-12345678"'),
        ({"account": Account(project="mine")}, '"mine"'),
        ({"account": Account(kms_key=KEY)}, f'"VolumeKmsKeyId": "{KEY}"'),
    ],
)  # fmt: skip
def test_every_parameter_reaches_the_request(change, seen):
    assert seen in changed(**change)


def test_every_request_parameter_is_covered_above():
    tried = {
        name for mark in test_every_parameter_reaches_the_request.pytestmark for c, _ in mark.args[1] for name in c
    }
    assert {f.name for f in dataclasses.fields(JobParams)} - tried == {"client", "prices", "profiler"}


def test_sagemakers_own_profiler_is_off():
    _, body = body_of(task(stage="train"), JobParams())
    assert body["ProfilerConfig"] == {"DisableProfiler": True}


def test_processing_jobs_use_one_machine_and_one_process():
    _, body = body_of(task(stage="compile"), JobParams(instance_count=4, container=Container(processes=8)))
    assert body["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 1
    assert body["AppSpecification"]["ContainerArguments"][2] == "1"
    _, body = body_of(task(stage="train"), JobParams(instance_count=4))
    assert body["ResourceConfig"]["InstanceCount"] == 4
    assert body["AlgorithmSpecification"]["ContainerArguments"][2] == "auto"


@pytest.mark.parametrize(
    ("job", "stage", "kind"),
    [
        (None, "train", "training"),
        (None, "distill", "training"),
        (None, "compile", "processing"),
        (None, "benchmark", "processing"),
        ("training", "compile", "training"),
        ("processing", "train", "processing"),
    ],
)
def test_job_kind_follows_the_stage_unless_configured(job, stage, kind):
    assert kind_of(JobParams(job=job), stage) == kind


def test_instance_types_without_processing_use_training_jobs():
    shapes = validation.model("sagemaker")
    trained, processed = (set(shapes.shape_for(f"{kind}InstanceType").enum) for kind in ("Training", "Processing"))
    kinds = {name: kind_of(JobParams(instance_type=name), "compile") for name in trained | processed}
    assert {name for name, kind in kinds.items() if kind == "training"} == trained - processed
    assert [key for key, _ in check(JobParams(instance_type="ml.p4d.24xlarge", job="processing"))] == ["instance_type"]


def test_replacing_a_record_changes_the_key_and_checkpoints():
    one, two = task(), dataclasses.replace(task(), replaces="2026-01-01T00:00:00.000000+00:00")
    assert run.run_key(one) == run.run_key(task()) != run.run_key(two)
    assert files(one).checkpoints != files(two).checkpoints
    assert files(one).attempts_uri == "s3://bucket/p/jobs/d/m"
