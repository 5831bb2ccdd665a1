"""Check the test cloud: it refuses what AWS refuses, and records its calls."""

import itertools
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pokeflow_testkit.cloud import IMAGE, Cloud


def code(call: Any, **arguments: Any) -> str:
    """Return AWS's error code for a request, or an empty text where it is accepted."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_requests_are_validated_by_the_service_s_model(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker", parameter_validation=False)
    with pytest.raises(ClientError, match=r"'modelPackageGroupName' failed .* regular expression pattern"):
        sagemaker.create_model_package_group(ModelPackageGroupName="not_this")
    with pytest.raises(ClientError, match=r"null at 'modelPackageGroupName' .* must not be null"):
        sagemaker.create_model_package_group()
    with pytest.raises(ClientError, match=r"at 'tags.1.member.key' .* length less than or equal to 128"):
        sagemaker.create_model_package_group(ModelPackageGroupName="g", Tags=[{"Key": "k" * 129, "Value": ""}])
    with pytest.raises(ClientError, match=r"enum value set: \[Approved, Rejected, PendingManualApproval\]"):
        sagemaker.create_model_package(ModelPackageGroupName="g", ModelApprovalStatus="Maybe")
    assert code(cloud.aws("iam").create_role, RoleName="a b", AssumeRolePolicyDocument="{}") == "ValidationError"
    assert cloud.mutating() == {}


@pytest.mark.slow
def test_unknown_operation_says_where_to_add_it(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="sagemaker:CreateHub is not known to the test cloud: add it to"):
        cloud.aws("sagemaker").create_hub(HubName="h", HubDescription="x")


def test_names_must_be_unique(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    card = {"ModelCardName": "c", "Content": "{}", "ModelCardStatus": "Draft"}
    for _ in range(2):
        codes = [
            code(sagemaker.create_model_package_group, ModelPackageGroupName="g"),
            code(sagemaker.create_action, ActionName="a", ActionType="t", Source={"SourceUri": "u"}),
            code(sagemaker.create_artifact, ArtifactType="Model", Source={"SourceUri": "s3://b/k"}),
            code(sagemaker.create_model_card, **card),
        ]
    assert codes == ["ValidationException", "ValidationException", "ValidationException", "ConflictException"]
    assert code(sagemaker.create_model_card, **card | {"ModelCardName": "d", "Content": "no"}) == "ValidationException"


def test_versions_are_numbered_and_a_token_makes_one_once(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    cloud.client().put_object(Bucket=cloud.name, Key="model.tar.gz", Body=b"model")
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    request: dict[str, Any] = {
        "ModelPackageGroupName": "g",
        "ClientToken": "abc",
        "SourceUri": f"{cloud.uri}/model.tar.gz",
        "ModelCard": {"ModelCardContent": '{"model_overview": {}}', "ModelCardStatus": "Draft"},
        "CustomerMetadataProperties": {"version": "v1.0"},
        "InferenceSpecification": {"Containers": [{"Image": IMAGE, "ModelDataUrl": f"{cloud.uri}/model.tar.gz"}]},
    }
    first = sagemaker.create_model_package(**request)["ModelPackageArn"]
    assert sagemaker.create_model_package(**request)["ModelPackageArn"] == first
    assert code(sagemaker.create_model_package, **request | {"SourceUri": "s3://other/model"}) == "ValidationException"
    second = sagemaker.create_model_package(**request | {"ClientToken": "def"})["ModelPackageArn"]
    assert [first[-4:], second[-4:]] == [":package/g/1"[-4:], "/g/2"]
    package = sagemaker.describe_model_package(ModelPackageName=first)
    assert {name: package[name] for name in ("SourceUri", "ModelCard", "CustomerMetadataProperties")} == {
        name: request[name] for name in ("SourceUri", "ModelCard", "CustomerMetadataProperties")
    }
    assert code(sagemaker.create_model_package, **request | {"ClientToken": "g", "Tags": [{"Key": "a", "Value": "b"}]})
    missing = {"Containers": [{"Image": IMAGE, "ModelDataUrl": f"{cloud.uri}/missing"}]}
    assert code(sagemaker.create_model_package, ModelPackageGroupName="g", InferenceSpecification=missing)
    sagemaker.add_tags(ResourceArn=first, Tags=[{"Key": "k", "Value": "v"}])
    assert sagemaker.list_tags(ResourceArn=first)["Tags"] == [{"Key": "k", "Value": "v"}]
    assert code(sagemaker.delete_model_package_group, ModelPackageGroupName="g") == "ConflictException"
    for arn in (first, second):
        sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName="g")


def test_listings_come_in_pages_of_ten_and_are_filtered(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    for number in range(12):
        sagemaker.create_model_package_group(ModelPackageGroupName=f"group-{number:02}")
    answer = sagemaker.list_model_package_groups()
    assert len(answer["ModelPackageGroupSummaryList"]) == 10
    pages = sagemaker.get_paginator("list_model_package_groups").paginate(SortBy="Name", NameContains="GROUP-0")
    names = [group["ModelPackageGroupName"] for page in pages for group in page["ModelPackageGroupSummaryList"]]
    assert names == [f"group-{number:02}" for number in range(10)]
    assert code(sagemaker.list_model_package_groups, NextToken="nonsense") == "ValidationException"


def test_lineage_is_followed_from_one_thing_both_ways(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    arns = [
        sagemaker.create_artifact(ArtifactName=name, Source={"SourceUri": f"s3://b/{name}"}, ArtifactType="Model")[
            "ArtifactArn"
        ]
        for name in ("teacher", "stage1", "stage2", "compiled")
    ]
    for edge in itertools.pairwise(arns):
        sagemaker.add_association(SourceArn=edge[0], DestinationArn=edge[1], AssociationType="ContributedTo")
    assert code(sagemaker.add_association, SourceArn=arns[0], DestinationArn=arns[1]) == "ValidationException"
    assert code(sagemaker.add_association, SourceArn=arns[3], DestinationArn=arns[0]) == "ValidationException"
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/1"
    assert code(sagemaker.add_association, SourceArn=package, DestinationArn=arns[0]) == "ValidationException"
    gone = arns[0][:-32] + "0" * 32
    assert code(sagemaker.add_association, SourceArn=gone, DestinationArn=arns[0]) == "ResourceNotFound"
    up = sagemaker.query_lineage(StartArns=[arns[3]], Direction="Ascendants", IncludeEdges=True)
    assert [v["Arn"] for v in up["Vertices"]] == arns[2::-1]
    assert len(up["Edges"]) == 3
    near = sagemaker.query_lineage(StartArns=[arns[1]], Direction="Both", MaxDepth=1, IncludeEdges=True)
    assert {v["Arn"] for v in near["Vertices"]} == {arns[0], arns[2]}
    assert code(sagemaker.query_lineage, StartArns=arns) == "ValidationException"
    assert code(sagemaker.query_lineage, StartArns=[arns[0]], MaxDepth=11) == "ValidationException"
    assert code(sagemaker.delete_artifact, ArtifactArn=arns[0]) == "ValidationException"
    sagemaker.delete_association(SourceArn=arns[0], DestinationArn=arns[1])
    sagemaker.delete_artifact(ArtifactArn=arns[0])


def test_policy_simulation_applies_its_statements(cloud: Cloud) -> None:
    iam = cloud.aws("iam")
    passing = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    statements = [
        {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::bucket/*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/secret/*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": passing},
    ]
    role = cloud.new_role("reader", main={"Version": "2012-10-17", "Statement": statements})

    def decision(action: str, resource: str, **context: str) -> str:
        entries = [
            {"ContextKeyName": f"iam:{name}", "ContextKeyValues": [value], "ContextKeyType": "string"}
            for name, value in context.items()
        ]
        request = {"PolicySourceArn": role, "ActionNames": [action], "ResourceArns": [resource]}
        answer = iam.simulate_principal_policy(**request, ContextEntries=entries)
        return str(answer["EvaluationResults"][0]["EvalDecision"])

    assert decision("s3:GetObject", "arn:aws:s3:::bucket/a") == "allowed"
    assert decision("s3:PutObject", "arn:aws:s3:::bucket/a") == "implicitDeny"
    assert decision("s3:GetObject", "arn:aws:s3:::bucket/secret/a") == "explicitDeny"
    assert decision("iam:PassRole", role) == "implicitDeny"
    assert decision("iam:PassRole", role, PassedToService="sagemaker.amazonaws.com") == "allowed"


def test_injected_faults_use_each_protocol_s_error_codes(cloud: Cloud) -> None:
    calls = [
        cloud.aws("sagemaker").list_model_cards,
        cloud.aws("iam").list_roles,
        cloud.aws("cloudwatch").list_metrics,
        cloud.client().list_buckets,
    ]
    assert [code(call) for call in calls] == [""] * 4
    cloud.trouble(expired=True)
    assert [code(call) for call in calls] == ["ExpiredTokenException", "ExpiredToken"] * 2
    cloud.trouble(throttling=1.0, times=2)
    assert [code(call) for call in calls] == ["ThrottlingException", "Throttling", "", ""]
    cloud.trouble(denied=["ListModelCards"])
    assert [code(call) for call in calls] == ["AccessDeniedException", "", "", ""]
    cloud.trouble()
    assert cloud.client().head_bucket(Bucket=cloud.name)
    cloud.vanish()
    assert code(cloud.client().list_objects_v2, Bucket=cloud.name) == "NoSuchBucket"


def test_calls_are_recorded_with_their_requests(cloud: Cloud) -> None:
    cloud.aws("sagemaker").create_model_package_group(ModelPackageGroupName="g")
    cloud.aws("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    cloud.client().put_object(Bucket=cloud.name, Key="k", Body=b"")
    assert code(cloud.client().put_object, Bucket=cloud.name, Key="k", Body=b"", IfNoneMatch="*")
    assert cloud.mutating() == {"CreateModelPackageGroup": 1, "CreateRole": 1, "PutObject": 1}
    (call,) = cloud.calls("CreateRole")
    assert call["request"]["RoleName"] == "r"
    assert (call["service"], call["status"], call["by"]) == ("iam", 200, "client")
    cloud.forget()
    assert cloud.calls() == []
    assert cloud.mutating() == {}
