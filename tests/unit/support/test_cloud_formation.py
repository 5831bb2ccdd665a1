"""Check CloudFormation of the test cloud: stacks create what their template declares, or fail."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pokeflow_testkit.cloud import TRUST, Cloud

TEMPLATE = """
Parameters:
  SageMakerProjectName: {Type: String, Default: pokemon}
  SageMakerProjectId: {Type: String, Default: local}
  BucketName: {Type: String}
Resources:
  Key:
    Type: AWS::KMS::Key
    Properties:
      EnableKeyRotation: true
      KeyPolicy:
        Version: '2012-10-17'
        Statement:
          - {Effect: Allow, Principal: {AWS: !Sub 'arn:aws:iam::${AWS::AccountId}:root'}, Action: '*', Resource: '*'}
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties:
      BucketName: !Ref BucketName
      VersioningConfiguration: {Status: Enabled}
      BucketEncryption:
        ServerSideEncryptionConfiguration:
          - BucketKeyEnabled: true
            ServerSideEncryptionByDefault: {SSEAlgorithm: 'aws:kms', KMSMasterKeyID: !GetAtt Key.Arn}
      PublicAccessBlockConfiguration: {BlockPublicAcls: true, BlockPublicPolicy: true}
      OwnershipControls: {Rules: [{ObjectOwnership: BucketOwnerEnforced}]}
      LifecycleConfiguration:
        Rules: [{Id: checkpoints, Status: Enabled, Prefix: checkpoints/, ExpirationInDays: 30}]
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Deny, Principal: '*', Action: 's3:*', Resource: !GetAtt Bucket.Arn}]
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Allow, Principal: {Service: sagemaker.amazonaws.com}, Action: 'sts:AssumeRole'}]
      Policies:
        - PolicyName: main
          PolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 's3:GetObject', Resource: '*'}]}
  Group:
    Type: AWS::SageMaker::ModelPackageGroup
    Properties: {ModelPackageGroupName: models, ModelPackageGroupDescription: all of them, Tags: [{Key: a, Value: b}]}
Outputs:
  Role: {Value: !GetAtt Role.Arn}
"""


def until(done: Callable[[], bool]) -> None:
    """Wait until a condition holds, two minutes at most."""
    end = time.monotonic() + 120
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def parameters(bucket: str) -> list[dict[str, str]]:
    return [{"ParameterKey": "BucketName", "ParameterValue": bucket}]


def creator(cloud: Cloud) -> str:
    """Create a role that CloudFormation may assume."""
    trust = json.dumps(TRUST).replace("sagemaker.", "cloudformation.")
    return str(cloud.aws("iam").create_role(RoleName="creator", AssumeRolePolicyDocument=trust)["Role"]["Arn"])


def provider(cloud: Cloud, template: str, **more: Any) -> dict[str, Any]:
    cloud.client().put_object(Bucket=cloud.name, Key="template.yaml", Body=template.encode())
    url = f"https://{cloud.name}.s3.us-east-1.amazonaws.com/template.yaml"
    values = [{"Key": "BucketName", "Value": "made-by-project"}]
    return {"CfnTemplateProvider": {"TemplateName": "main", "TemplateURL": url, "Parameters": values, **more}}


def check_bucket(cloud: Cloud, name: str) -> None:
    client = cloud.client()
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    blocked = client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert blocked == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": False,
        "RestrictPublicBuckets": False,
    }
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert (rule["ID"], rule["Filter"], rule["Expiration"]) == ("checkpoints", {"Prefix": "checkpoints/"}, {"Days": 30})
    assert json.loads(client.get_bucket_policy(Bucket=name)["Policy"])["Statement"][0]["Effect"] == "Deny"
    (rule,) = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    controls = client.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]
    assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_stack_creates_updates_and_deletes_its_resources(cloud: Cloud) -> None:
    stacks = cloud.aws("cloudformation")
    request = {"TemplateBody": TEMPLATE, "Capabilities": ["CAPABILITY_IAM"], "Parameters": parameters("made")}
    stacks.create_stack(StackName="s", **request)
    (stack,) = stacks.describe_stacks(StackName="s")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    check_bucket(cloud, "made")
    group = cloud.aws("sagemaker").describe_model_package_group(ModelPackageGroupName="models")
    assert group["ModelPackageGroupDescription"] == "all of them"
    tags = cloud.aws("sagemaker").list_tags(ResourceArn=group["ModelPackageGroupArn"])["Tags"]
    assert tags == [{"Key": "a", "Value": "b"}]
    role = stack["Outputs"][0]["OutputValue"]
    decision = cloud.aws("iam").simulate_principal_policy(PolicySourceArn=role, ActionNames=["s3:GetObject"])
    assert decision["EvaluationResults"][0]["EvalDecision"] == "allowed"
    kms = cloud.aws("kms")
    key = kms.list_keys()["Keys"][0]["KeyId"]
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    with pytest.raises(ClientError, match="No updates are to be performed"):
        stacks.update_stack(StackName="s", **request)
    changed = TEMPLATE.replace("ExpirationInDays: 30", "ExpirationInDays: 7").replace("s3:GetObject", "s3:PutObject")
    stacks.update_stack(StackName="s", **request | {"TemplateBody": changed})
    (rule,) = cloud.client().get_bucket_lifecycle_configuration(Bucket="made")["Rules"]
    assert rule["Expiration"] == {"Days": 7}
    decision = cloud.aws("iam").simulate_principal_policy(PolicySourceArn=role, ActionNames=["s3:GetObject"])
    assert decision["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"
    stacks.delete_stack(StackName="s")
    assert cloud.aws("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert cloud.client().head_bucket(Bucket="made")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"Capabilities": []}, r"Requires capabilities : \[CAPABILITY_IAM\]"),
        ({"Parameters": []}, "BucketName"),
        ({"Parameters": [*parameters("made"), {"ParameterKey": "X", "ParameterValue": ""}]}, "do not exist in the"),
        ({"TemplateBody": TEMPLATE.replace("AWS::KMS::Key", "AWS::KMS::Kei")}, "type AWS::KMS::Kei: add it to cloud"),
        ({"TemplateBody": TEMPLATE.replace("BucketName: !Ref", "Bucketname: !Ref")}, "property Bucketname of Bucket"),
        ({"TemplateBody": TEMPLATE + "# " + "x" * 60_000}, "length less than or equal to 51200"),
        ({"RoleARN": "arn:aws:iam::123456789012:role/nobody"}, "is invalid or cannot be assumed"),
    ],
)
def test_wrong_stack_request_is_refused(cloud: Cloud, change: dict[str, Any], sentence: str) -> None:
    request = {"TemplateBody": TEMPLATE, "Capabilities": ["CAPABILITY_IAM"], "Parameters": parameters("made")}
    with pytest.raises(ClientError, match=sentence):
        cloud.aws("cloudformation").create_stack(StackName="s", **request | change)
    assert cloud.mutating() == {}


def test_failed_stack_reports_why_and_rolls_back(cloud: Cloud) -> None:
    stacks = cloud.aws("cloudformation")
    request = {"TemplateBody": TEMPLATE, "Capabilities": ["CAPABILITY_IAM"], "Parameters": parameters(cloud.name)}
    stacks.create_stack(StackName="s", **request)
    (stack,) = stacks.describe_stacks(StackName="s")["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    events = stacks.describe_stack_events(StackName="s")["StackEvents"]
    (failed,) = [event for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
    assert failed["LogicalResourceId"] == "Bucket"
    assert "bucket name is not available" in failed["ResourceStatusReason"]
    assert cloud.aws("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_project_creates_and_updates_its_stack(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    template = provider(cloud, TEMPLATE, RoleARN=creator(cloud))
    cloud.trouble(becoming=3600)
    created = sagemaker.create_project(ProjectName="pokemon", TemplateProviders=[template])
    assert sagemaker.describe_project(ProjectName="pokemon")["ProjectStatus"] == "CreateInProgress"

    def status() -> str:
        return str(sagemaker.describe_project(ProjectName="pokemon")["ProjectStatus"])

    cloud.settle()
    assert status() == "CreateCompleted"
    check_bucket(cloud, "made-by-project")
    project = sagemaker.describe_project(ProjectName="pokemon")
    detail = project["TemplateProviderDetails"][0]["CfnTemplateProviderDetail"]["StackDetail"]
    (stack,) = cloud.aws("cloudformation").describe_stacks(StackName=detail["Name"])["Stacks"]
    assert {"Key": "sagemaker:project-id", "Value": created["ProjectId"]} in stack["Tags"]
    with pytest.raises(ClientError, match="already exists"):
        sagemaker.create_project(ProjectName="pokemon", TemplateProviders=[template])
    changed = provider(cloud, TEMPLATE.replace("ExpirationInDays: 30", "ExpirationInDays: 7"))
    sagemaker.update_project(ProjectName="pokemon", TemplateProvidersToUpdate=[changed])
    assert status() == "UpdateInProgress"
    cloud.settle()
    assert status() == "UpdateCompleted"
    (rule,) = cloud.client().get_bucket_lifecycle_configuration(Bucket="made-by-project")["Rules"]
    assert rule["Expiration"] == {"Days": 7}
    sagemaker.delete_project(ProjectName="pokemon")
    cloud.settle()
    assert sagemaker.list_projects()["ProjectSummaryList"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_a_project_fails_with_its_stack(cloud: Cloud) -> None:
    sagemaker = cloud.aws("sagemaker")
    cloud.bucket("made-by-project")
    sagemaker.create_project(ProjectName="p", TemplateProviders=[provider(cloud, TEMPLATE)])
    until(lambda: sagemaker.describe_project(ProjectName="p")["ProjectStatus"] == "CreateFailed")
    project = sagemaker.describe_project(ProjectName="p")
    message = project["TemplateProviderDetails"][0]["CfnTemplateProviderDetail"]["StackDetail"]["StatusMessage"]
    assert "failed: [Bucket]" in message
    too_long = "pokemon-card-recognition-of-all-cards"
    with pytest.raises(ClientError, match=r"at 'projectName' failed .* less than or equal to 32"):
        cloud.aws("sagemaker", parameter_validation=False).create_project(ProjectName=too_long)
