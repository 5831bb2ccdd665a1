"""Faults during registration: one paragraph each, nothing half-registered, and the next attempt completes."""

import pytest

from pokeflow import PokeflowError
from pokeflow_sagemaker.aws import waiting
from pokeflow_sagemaker.stages import register

from ..registry_flow import GROUP, HALF, STAGE1, Lineage

CALLS = (
    "CreateArtifact", "AddAssociation", "CreateModelPackageGroup", "CreateModelPackage", "DescribeModelPackage",
    "UpdateArtifact",
)  # fmt: skip


@pytest.fixture
def flow(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_INTERVAL", 0.02)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    cloud.trouble(becoming=0.05)
    return Lineage(cloud, tmp_path)


def packages_of(flow):
    sagemaker = flow.cloud.aws("sagemaker")
    if not sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        return []
    return sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]


def failure_message(flow, task, **trouble):
    """Register a model in trouble, and return the one-paragraph message of the failure."""
    flow.cloud.trouble(becoming=0.05, **trouble)
    with pytest.raises(PokeflowError) as error:
        register.run(task)
    flow.cloud.trouble(becoming=0.05)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1200
    return str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("trouble", ["throttling", "lost", "denied"])
def test_retry_after_failed_call_completes_without_duplicates(flow, operation, trouble):
    task = flow.task(STAGE1, gates=HALF)
    share = {"denied": (operation,)} if trouble == "denied" else {trouble: 1.0, "only": (operation,), "times": 1}
    message = failure_message(flow, task, **share)
    assert {"throttling": "did not complete", "lost": "Run the same command again", "denied": operation}[
        trouble
    ] in message
    assert all(row["ModelApprovalStatus"] == "Approved" for row in packages_of(flow))

    result = register.run(task)
    assert result.facts["model_package_version"] == 1
    assert len(packages_of(flow)) == 1
    flow.cloud.forget()
    assert register.run(task) == result
    assert flow.cloud.mutating() == {}


@pytest.mark.slow
def test_throttling_is_waited_out(flow, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "8")
    task = flow.task(STAGE1)
    flow.cloud.trouble(throttling=0.2, becoming=0.05, seed=3)
    assert register.run(task).facts["model_package_version"] == 1


def test_expired_credentials_create_no_package(flow):
    message = failure_message(flow, flow.task(STAGE1), expired=True)
    assert "expired" in message
    assert packages_of(flow) == []


def test_missing_bucket_creates_no_package(flow):
    task = flow.task(STAGE1)
    flow.cloud.vanish()
    assert flow.cloud.name in failure_message(flow, task)
    assert packages_of(flow) == []


def test_missing_permission_is_named(flow):
    message = failure_message(flow, flow.task(STAGE1), denied=("CreateModelPackage",))
    assert "sagemaker:CreateModelPackage" in message
    assert STAGE1 in message
