"""Check endpoints and batch transforms of the test cloud: what they require, and their statuses."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pokeflow_testkit.cloud import IMAGE, Cloud


def until(done: Callable[[], bool]) -> None:
    """Wait until a condition holds, two minutes at most."""
    end = time.monotonic() + 120
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def model(cloud: Cloud, name: str) -> None:
    cloud.client().put_object(Bucket=cloud.name, Key="model.tar.gz", Body=b"model")
    container = {"Image": IMAGE, "ModelDataUrl": f"{cloud.uri}/model.tar.gz"}
    cloud.aws("sagemaker").create_model(ModelName=name, ExecutionRoleArn=cloud.role, PrimaryContainer=container)
    variant = {"VariantName": "all", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    cloud.aws("sagemaker").create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def status(cloud: Cloud, name: str = "cards") -> str:
    return str(cloud.aws("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"])


def test_a_model_needs_its_archive_its_role_and_its_image(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": f"{cloud.uri}/nothing.tar.gz"}
    request: dict[str, Any] = {"ModelName": "m", "ExecutionRoleArn": cloud.role, "PrimaryContainer": container}
    with pytest.raises(ClientError, match="Could not access model data at"):
        sagemaker.create_model(**request)
    with pytest.raises(ClientError, match="Could not assume role"):
        sagemaker.create_model(**request | {"ExecutionRoleArn": "arn:aws:iam::123456789012:role/nobody"})
    with pytest.raises(ClientError, match="Invalid image URI"):
        sagemaker.create_model(**request | {"PrimaryContainer": {"Image": "pytorch"}})
    model(cloud, "m")
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        model(cloud, "m")


def test_a_package_becomes_a_model_once_it_is_approved(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    cloud.client().put_object(Bucket=cloud.name, Key="m", Body=b"m")
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    containers = [{"Image": IMAGE, "ModelDataUrl": f"{cloud.uri}/m"}]
    arn = sagemaker.create_model_package(ModelPackageGroupName="g", InferenceSpecification={"Containers": containers})[
        "ModelPackageArn"
    ]
    describe = sagemaker.describe_model_package
    until(lambda: bool(describe(ModelPackageName=arn)["ModelPackageStatus"] == "Completed"))
    request = {"ModelName": "m", "ExecutionRoleArn": cloud.role, "PrimaryContainer": {"ModelPackageName": arn}}
    with pytest.raises(ClientError, match="is not approved"):
        sagemaker.create_model(**request)
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.create_model(**request)


def test_endpoint_is_created_updated_and_deleted(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    model(cloud, "one")
    model(cloud, "two")
    cloud.trouble(becoming=3600)
    sagemaker.create_endpoint(EndpointName="cards", EndpointConfigName="one")
    assert status(cloud) == "Creating"
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.update_endpoint(EndpointName="cards", EndpointConfigName="two")
    cloud.settle()
    assert status(cloud) == "InService"
    sagemaker.update_endpoint(EndpointName="cards", EndpointConfigName="two")
    assert status(cloud) == "Updating"
    cloud.settle()
    assert status(cloud) == "InService"
    endpoint = sagemaker.describe_endpoint(EndpointName="cards")
    assert (endpoint["EndpointConfigName"], endpoint["ProductionVariants"][0]["CurrentInstanceCount"]) == ("two", 1)
    sagemaker.delete_endpoint(EndpointName="cards")
    assert status(cloud) == "Deleting"
    cloud.settle()
    assert sagemaker.list_endpoints()["Endpoints"] == []
    with pytest.raises(ClientError, match="Could not find endpoint"):
        sagemaker.describe_endpoint(EndpointName="cards")


@pytest.mark.slow
def test_an_endpoint_fails_and_an_update_is_rolled_back(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    model(cloud, "good")
    model(cloud, "bad")
    cloud.trouble(fail=["bad"], becoming=3600)
    sagemaker.create_endpoint(EndpointName="cards", EndpointConfigName="bad")
    cloud.settle()
    assert status(cloud) == "Failed"
    assert "ping health check" in sagemaker.describe_endpoint(EndpointName="cards")["FailureReason"]
    sagemaker.create_endpoint(EndpointName="more", EndpointConfigName="good")
    cloud.settle()
    sagemaker.update_endpoint(EndpointName="more", EndpointConfigName="bad")
    passed = []
    for _ in range(3):
        passed.append(status(cloud, "more"))
        cloud.settle()
    assert passed == ["Updating", "RollingBack", "InService"]
    endpoint = sagemaker.describe_endpoint(EndpointName="more")
    assert endpoint["EndpointConfigName"] == "good"
    assert "ping health check" in endpoint["FailureReason"]


def test_transform_succeeds_or_reports_its_failure(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    model(cloud, "m")
    cloud.client().put_object(Bucket=cloud.name, Key="in/card.jpg", Body=b"card")

    def transform(name: str, prefix: str) -> dict[str, Any]:
        source = {"S3DataType": "S3Prefix", "S3Uri": f"{cloud.uri}/{prefix}"}
        sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName="m",
            TransformInput={"DataSource": {"S3DataSource": source}},
            TransformOutput={"S3OutputPath": f"{cloud.uri}/out"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        describe = sagemaker.describe_transform_job
        until(lambda: bool(describe(TransformJobName=name)["TransformJobStatus"] != "InProgress"))
        return dict(describe(TransformJobName=name))

    assert transform("t", "in/")["TransformJobStatus"] == "Completed"
    assert "No S3 objects found" in transform("u", "nothing/")["FailureReason"]
    cloud.trouble(fail=["v"])
    assert transform("v", "in/")["TransformJobStatus"] == "Failed"
