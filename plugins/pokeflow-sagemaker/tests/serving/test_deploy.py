"""Deploying to the test cloud: created once, updated with a rollback, and failures reported."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import ConfigError, PokeflowError, Record
from pokeflow_sagemaker.aws import AccessDeniedError, NotFoundError, QuotaError, RefusedError, waiting
from pokeflow_sagemaker.provision import names
from pokeflow_sagemaker.serving import deploy, endpoint, model
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import DeployParams

from ..serving_flow import MODEL, PROJECT

NAME = f"{PROJECT}-{MODEL}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_INTERVAL", 0.05)
    monkeypatch.setattr(waiting, "MAX_INTERVAL", 0.1)


@pytest.fixture
def deployed(deployed):
    deployed.cloud.trouble(becoming=0.1)
    return deployed


def other(deployed, **about):
    """Share another bundle, and return its record."""
    record = dataclasses.replace(deployed.record, digest="f" * 16, **about)
    deployed.shares(record)
    deployed.cloud.forget()
    return record


def test_deploy_creates_and_queries_an_endpoint(deployed):
    facts = deployed.deploy()
    assert facts["endpoint"] == NAME
    assert facts["changed"] == "created"
    assert facts["url"] == f"https://runtime.sagemaker.us-east-1.amazonaws.com/endpoints/{NAME}/invocations"
    assert 0 < facts["answer_ms"] < 60_000
    assert facts["usd_per_hour"] == 0.115
    assert deployed.runtime.requests == [(NAME, "image/png")]
    assert deployed.cloud.mutating() == {"CreateModel": 1, "CreateEndpointConfig": 1, "CreateEndpoint": 1}
    assert deployed.standing()["EndpointConfigName"] == facts["configuration"]


def test_second_deploy_changes_nothing_and_queries_again(deployed):
    first = deployed.deploy()
    deployed.cloud.forget()
    second = deployed.deploy()
    assert deployed.cloud.mutating() == {}
    assert second["changed"] == "nothing"
    assert second["configuration"] == first["configuration"]
    assert len(deployed.runtime.requests) == 2


def test_model_request_names_bundle_image_role_and_tags(deployed):
    deployed.deploy()
    (call,) = deployed.cloud.calls("CreateModel")
    request = call["request"]
    bundle = f"{deployed.cloud.uri}/store/tasks/bundle/{MODEL}/{deployed.record.digest}/model.tar.gz"
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.1"
    assert request["PrimaryContainer"] == {"Image": image, "ModelDataUrl": bundle}
    assert request["ExecutionRoleArn"] == deployed.cloud.role
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags["pokeflow:project"] == PROJECT
    assert tags["pokeflow:model"] == MODEL
    assert deployed.cloud.secret not in json.dumps(deployed.cloud.calls())


def test_price_is_logged_before_anything_is_created(deployed, caplog):
    caplog.set_level("INFO")
    deployed.cloud.trouble(denied=("CreateModel",))
    with pytest.raises(AccessDeniedError, match="sagemaker:CreateModel"):
        deployed.deploy(instances=3)
    assert "3 × ml.m5.large: about $0.35 per hour" in caplog.text
    deployed.cloud.trouble(becoming=0.1)
    result = deployed.deploy(instance_type="ml.m7i.large")
    assert result["usd_per_hour"] is None
    assert "no price is known for ml.m7i.large" in result["price"]


def test_update_waits_under_an_alarm_and_keeps_the_name(deployed):
    deployed.deploy()
    facts = deployed.deploy(record=other(deployed))
    assert facts["changed"] == "updated"
    wanted = {"CreateModel": 1, "CreateEndpointConfig": 1, "UpdateEndpoint": 1, "PutMetricAlarm": 1}
    assert deployed.cloud.mutating() == wanted
    (update,) = deployed.cloud.calls("UpdateEndpoint")
    config = update["request"]["DeploymentConfig"]
    assert config["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": f"{NAME}-errors"}]}
    routing = config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 120}


def test_larger_fleet_uses_a_canary_and_no_alarm_means_no_wait(deployed):
    deployed.deploy(instances=2)
    deployed.deploy(record=other(deployed), instances=4, rollback={"alarms": []})
    (update,) = deployed.cloud.calls("UpdateEndpoint")
    config = update["request"]["DeploymentConfig"]
    routing = config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "CANARY"
    assert routing["CanarySize"] == {"Type": "INSTANCE_COUNT", "Value": 1}
    assert routing["WaitIntervalInSeconds"] == 0
    assert "AutoRollbackConfiguration" not in config
    assert deployed.cloud.calls("PutMetricAlarm") == []


def test_failed_update_rolls_back_and_reports_the_reason(deployed):
    before = deployed.deploy()["configuration"]
    deployed.cloud.trouble(becoming=0.1, capacity=("ml.m5.xlarge",))
    with pytest.raises(PokeflowError) as error:
        deployed.deploy(instance_type="ml.m5.xlarge")
    assert f"rolled back: {before} serves as before" in str(error.value)
    assert "Unable to provision requested ML compute capacity for ml.m5.xlarge." in str(error.value)
    assert "\n" not in str(error.value)
    assert deployed.standing()["EndpointStatus"] == "InService"
    assert deployed.standing()["EndpointConfigName"] == before
    deployed.cloud.trouble(becoming=0.1)
    deployed.cloud.forget()
    assert deployed.deploy(instance_type="ml.m5.xlarge")["changed"] == "updated"
    assert deployed.cloud.mutating() == {"UpdateEndpoint": 1}


def test_failed_endpoint_is_reported_and_recreated_next_time(deployed):
    deployed.cloud.trouble(becoming=0.1, fail=(NAME,))
    with pytest.raises(PokeflowError, match=r"did not pass the ping health check.*/aws/sagemaker/Endpoints/"):
        deployed.deploy()
    deployed.cloud.trouble(becoming=0.1)
    deployed.cloud.forget()
    assert deployed.deploy()["changed"] == "created"
    assert deployed.cloud.mutating() == {"DeleteEndpoint": 1, "CreateEndpoint": 1}


def test_exceeded_quota_is_reported_with_advice(deployed):
    deployed.cloud.trouble(limited=("ml.m5.large",))
    with pytest.raises(QuotaError, match=r"ml\.m5\.large for endpoint usage.*Service Quotas"):
        deployed.deploy()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, b"the model could not answer"), "ModelError"),
        ((200, b"<html>"), "contains no matches: '<html>'"),
        ((200, b'{"matches": [], "preprocessing": "x"}'), "has no matches"),
        ((200, b'{"matches": [{"score": 0.5}], "preprocessing": "x"}'), "the endpoint serves another model"),
    ],
)
def test_new_endpoint_with_invalid_answers_is_reported(deployed, answer, said):
    deployed.runtime.answers = [answer] * 9  # every attempt of the client
    with pytest.raises(PokeflowError, match=f"(?s){said}.*The endpoint is kept for inspection"):
        deployed.deploy()


def test_update_with_invalid_answers_is_rolled_back(deployed):
    before = deployed.deploy()["configuration"]
    deployed.runtime.answers = [(200, b"{}")]
    with pytest.raises(PokeflowError, match=rf"The update was rolled back: {before} serves again"):
        deployed.deploy(record=other(deployed))
    assert deployed.standing()["EndpointConfigName"] == before
    assert deployed.cloud.mutating()["UpdateEndpoint"] == 2


def test_serverless_endpoint_has_no_hourly_price(deployed):
    result = deployed.deploy(serverless=True, serverless_config={"memory_mb": 2048, "concurrency": 3})
    (call,) = deployed.cloud.calls("CreateEndpointConfig")
    (variant,) = call["request"]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 3}
    assert "InstanceType" not in variant
    assert result["usd_per_hour"] is None
    assert "nothing while idle" in result["price"]
    deployed.deploy(record=other(deployed), serverless=True)
    (update,) = deployed.cloud.calls("UpdateEndpoint")
    assert "DeploymentConfig" not in update["request"]


def test_instance_endpoint_cannot_become_serverless(deployed):
    deployed.deploy()
    deployed.cloud.forget()
    with pytest.raises(ConfigError, match=r"pokeflow deploy student --delete"):
        deployed.deploy(serverless=True)
    assert "UpdateEndpoint" not in deployed.cloud.mutating()


def packaged(deployed, status):
    """Register a package of the bundle; return its ARN and the record of the registration."""
    sagemaker = deployed.cloud.aws("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="cards")
    uri = f"{deployed.cloud.uri}/store/tasks/bundle/{MODEL}/{deployed.record.digest}/model.tar.gz"
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:x"
    package = sagemaker.create_model_package(
        ModelPackageGroupName="cards",
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [{"Image": image, "ModelDataUrl": uri}],
            "SupportedContentTypes": ["image/jpeg"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )
    arn = package["ModelPackageArn"]
    record = dataclasses.replace(deployed.record, stage="register", facts={"model_package_arn": arn})
    assert isinstance(record, Record)
    deployed.cloud.forget()
    return arn, record


def test_approved_package_is_deployed(deployed):
    arn, registration = packaged(deployed, "Approved")
    deployed.deploy(registration=registration)
    (call,) = deployed.cloud.calls("CreateModel")
    assert call["request"]["PrimaryContainer"] == {"ModelPackageName": arn}


@pytest.mark.parametrize(
    ("status", "said"), [("Rejected", "a person rejected it"), ("PendingManualApproval", "It awaits a decision")]
)
def test_unapproved_package_is_deployed_only_as_a_bundle(deployed, status, said):
    _, registration = packaged(deployed, status)
    with pytest.raises(PokeflowError, match=rf"cards/1: its status is {status}.*{said}"):
        deployed.deploy(registration=registration)
    assert deployed.cloud.mutating() == {}
    deployed.deploy(registration=registration, source="bundle")
    (call,) = deployed.cloud.calls("CreateModel")
    assert "ModelDataUrl" in call["request"]["PrimaryContainer"]


def test_deleted_package_falls_back_to_the_bundle(deployed, caplog):
    arn, registration = packaged(deployed, "Approved")
    sagemaker = deployed.cloud.aws("sagemaker")
    sagemaker.delete_model_package(ModelPackageName=arn)
    with pytest.raises(NotFoundError, match="cards/1"):
        deployed.deploy(registration=registration, source="package")
    deployed.deploy(registration=registration)
    assert "cards/1 no longer exists: using the bundle itself" in caplog.text


def test_requested_but_unregistered_package_is_reported(deployed):
    with pytest.raises(PokeflowError, match=r"not registered with SageMaker\. Set registry=sagemaker"):
        deployed.deploy(source="package")


def test_delete_removes_only_the_endpoints_own_resources(deployed):
    deployed.deploy()
    deployed.deploy(record=other(deployed))
    deployed.deploy(name=f"{NAME}-2")
    facts = deployed.delete()
    assert facts["deleted"].startswith(f"endpoint {NAME}, endpoint configuration {NAME}-")
    assert facts["deleted"].endswith(f"alarm {NAME}-errors")
    sagemaker = deployed.cloud.aws("sagemaker")
    assert [row["EndpointName"] for row in sagemaker.list_endpoints()["Endpoints"]] == [f"{NAME}-2"]
    assert len(sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1
    deployed.cloud.forget()
    assert deployed.delete()["deleted"] == "nothing: it does not exist"
    assert deployed.cloud.mutating() == {}


@pytest.mark.parametrize("tags", [[], names.tags("another")])
@pytest.mark.parametrize("what", ["deploy", "delete"])
def test_foreign_endpoint_of_the_same_name_is_left_unchanged(deployed, tags, what):
    sagemaker = deployed.cloud.aws("sagemaker")
    configuration = deployed.deploy()["configuration"]
    endpoint.delete(deployed.cloud.region, NAME)
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=configuration, Tags=tags)
    record = other(deployed)

    with pytest.raises(PokeflowError, match=f"lacks the tag pokeflow:project={PROJECT}. Nothing was changed"):
        getattr(deployed, what)(record=record)
    assert deployed.cloud.mutating() == {}


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_lost_response_creates_no_duplicate(deployed, operation):
    deployed.cloud.trouble(becoming=0.1, lost=1.0, only=(operation,), times=1)
    assert deployed.deploy()["changed"] == "created"
    assert deployed.cloud.mutating() == {"CreateModel": 1, "CreateEndpointConfig": 1, "CreateEndpoint": 1}


@pytest.mark.slow
def test_update_or_deletion_with_a_lost_response_completes(deployed):
    deployed.deploy()
    record = other(deployed)
    deployed.cloud.trouble(becoming=1.0, lost=1.0, only=("UpdateEndpoint",), times=1)
    assert deployed.deploy(record=record)["changed"] == "updated"
    deployed.cloud.trouble(becoming=1.0, lost=1.0, only=("DeleteEndpoint",), times=1)
    assert f"endpoint {NAME}" in deployed.delete()["deleted"]


def test_endpoint_under_creation_is_waited_for(deployed):
    configuration = deployed.deploy()["configuration"]
    sagemaker = deployed.cloud.aws("sagemaker")
    endpoint.delete(deployed.cloud.region, NAME)
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=configuration, Tags=names.tags(PROJECT))
    deployed.cloud.forget()
    assert deployed.deploy()["changed"] == "nothing"
    assert deployed.cloud.mutating() == {}


def test_bundle_missing_from_the_bucket_is_reported(deployed):
    with pytest.raises(RefusedError, match="Could not access model data"):
        deployed.deploy(record=dataclasses.replace(deployed.record, digest="0" * 16))


def command(deployed, folder, *args):
    """Run pokeflow as a user does, with the bucket as its store."""
    cloud = deployed.cloud
    store = ("store=s3", f"store.remote={cloud.uri}/store", f"store.region={cloud.region}", "store.root=here")
    plain = ("data=none", "tracking=none", "registry=none", f"project.name={PROJECT}", "cloud=sagemaker")
    roles = [f"cloud.{stage}.params.account.role={cloud.role}" for stage in ("deploy", "transform")]
    return subprocess.run(
        [Path(sys.executable).with_name("pokeflow"), *args, *store, *plain, *roles],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_command_prints_price_progress_and_facts(deployed, tmp_path):
    deployed.cloud.trouble(becoming=0.5)
    done = command(deployed, tmp_path, "deploy")
    assert done.returncode == 0, done.stderr
    price, *progress = done.stderr.splitlines()
    assert price.startswith(
        f"endpoint {NAME}: 1 × ml.m5.large: about $0.12 per hour, $84 per month, until it is deleted"
    )
    assert re.fullmatch(rf"  endpoint {NAME}: Creating, \d+ s", progress[0])
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["endpoint"] == NAME
    assert facts["changed"] == "created"
    assert facts["usd_per_hour"] == "0.115"
    again = command(deployed, tmp_path, "deploy", MODEL, "--instances", "1")
    assert "changed        nothing" in again.stdout, again.stderr
    away = command(deployed, tmp_path, "deploy", "--delete")
    assert f"deleted   endpoint {NAME}, endpoint configuration" in away.stdout, away.stderr
    assert deployed.cloud.aws("sagemaker").list_endpoints()["Endpoints"] == []


@pytest.mark.slow
def test_invalid_command_line_is_refused_with_exit_2(deployed, tmp_path):
    for args, said in (
        (("deploy", "--instances", "0"), "cloud.deploy.params.instances: 0 is not between 1 and 100"),
        (("transform", "here", "there"), "cloud.transform.params.source: 'here' is not an S3 prefix"),
        (("deploy", "nobody"), "no bundle of a model named 'nobody'"),
    ):
        done = command(deployed, tmp_path, *args)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
    assert deployed.cloud.mutating() == {}


def test_without_a_bucket_aws_is_not_called(deployed):
    deployed.cloud.forget()
    with pytest.raises(ConfigError, match="store=s3"):
        deploy.deploy(DeployParams(), Bundle(deployed.record, None))
    with pytest.raises(ConfigError, match="store=s3"):
        deploy.delete(DeployParams(), MODEL, None)
    assert deployed.cloud.calls() == []


@given(st.text(max_size=90), st.integers(12, 63))
def test_fitted_name_is_valid_for_aws(text, most):
    name = model.fit_name(f"p{text}", most)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name)
    assert len(name) <= most
    assert name == model.fit_name(f"p{text}", most)
    assert model.fit_name(name, most) == name
