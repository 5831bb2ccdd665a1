"""What CloudFormation refuses of a stack before it begins, which moto does not: templates, capabilities, changes."""

from .buckets import check_role
from .state import ACCOUNT, AwsError, Row, State, invalid

IAM_NAMES = ("RoleName", "ManagedPolicyName", "UserName", "GroupName", "InstanceProfileName")
BODY = 51_200
KNOWN = {
    "AWS::S3::Bucket": (
        "BucketName BucketEncryption Tags VersioningConfiguration PublicAccessBlockConfiguration OwnershipControls "
        "LifecycleConfiguration"
    ),
    "AWS::S3::BucketPolicy": "Bucket PolicyDocument",
    "AWS::KMS::Key": "Description Enabled EnableKeyRotation KeyPolicy Tags PendingWindowInDays",
    "AWS::KMS::Alias": "AliasName TargetKeyId",
    "AWS::IAM::Role": (
        "RoleName AssumeRolePolicyDocument Policies ManagedPolicyArns Path Description MaxSessionDuration Tags "
        "PermissionsBoundary"
    ),
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName PolicyDocument Description Path Roles Users Groups",
    "AWS::IAM::Policy": "PolicyName PolicyDocument Roles Users Groups",
    "AWS::Logs::LogGroup": "LogGroupName RetentionInDays KmsKeyId Tags",
    "AWS::CloudFormation::WaitConditionHandle": "",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName ModelPackageGroupDescription Tags",
}
"""The resources, and the properties of them, that are really made here."""


def check(asked: Row, operation: str, state: State) -> None:
    """Refuse what CloudFormation refuses of a new or changed stack before it begins."""
    from moto.cloudformation.models import Stack
    from moto.cloudformation.utils import get_stack_from_s3_url

    if operation not in ("CreateStack", "UpdateStack", "CreateChangeSet", "ValidateTemplate"):
        return
    body, url = asked.get("TemplateBody"), asked.get("TemplateURL")
    if role := asked.get("RoleARN"):
        try:
            check_role(state, role, "cloudformation.amazonaws.com")
        except AwsError as error:
            raise invalid(f"Role {role} is invalid or cannot be assumed") from error
    if body and len(body.encode()) > BODY:
        raise invalid(f"'templateBody' must have length less than or equal to {BODY}")
    if url:
        try:
            body = get_stack_from_s3_url(url, ACCOUNT, "aws")
        except Exception as error:
            raise invalid("S3 error: The specified key does not exist.") from error
    if not body:
        return  # as it was before
    try:
        template = Stack.parse_template(body)
        resources = {name: dict(about) for name, about in template["Resources"].items()}
    except Exception as error:
        raise invalid(f"Template format error: {error}") from error
    check_template(resources, template, {p["ParameterKey"] for p in asked.get("Parameters") or ()})
    named = any(name in (about.get("Properties") or {}) for about in resources.values() for name in IAM_NAMES)
    iam = any(about["Type"].startswith("AWS::IAM::") for about in resources.values())
    given = set(asked.get("Capabilities") or ())
    if iam and operation != "ValidateTemplate":
        enough = {"CAPABILITY_NAMED_IAM"} | (set() if named else {"CAPABILITY_IAM"})
        if not given & enough:
            lacking = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
            raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{lacking}]")
    if operation == "UpdateStack":
        _check_change(asked, template, state)


def _check_change(asked: Row, template: Row, state: State) -> None:
    """Refuse an update that changes nothing."""
    from moto.cloudformation.models import cloudformation_backends

    stack = cloudformation_backends[ACCOUNT][state.region].get_stack(asked["StackName"])
    before = {k: str(v) for k, v in stack.stack_parameters.items()}
    given = {p["ParameterKey"]: p.get("ParameterValue") for p in asked.get("Parameters") or ()}
    defaults = {name: about.get("Default") for name, about in (template.get("Parameters") or {}).items()}
    after = {name: str(given[name] or before.get(name)) if name in given else str(v) for name, v in defaults.items()}
    tags = {tag["Key"]: tag["Value"] for tag in asked.get("Tags") or ()}
    if template == stack.template_dict and before == after and tags in ({}, stack.tags):
        raise invalid("No updates are to be performed.")


def check_template(resources: dict[str, Row], template: Row, given: set[str]) -> None:
    """Refuse types and properties that are not made here, and parameters that the template has not."""
    for name, about in resources.items():
        if about["Type"] not in KNOWN:
            raise invalid(f"Template error: resource {name} of type {about['Type']}: add it to cloud/stacks.py")
        if strange := (about.get("Properties") or {}).keys() - set(KNOWN[about["Type"]].split()):
            raise invalid(
                f"Template error: property {sorted(strange)[0]} of {name} ({about['Type']}) is not known: "
                "add it to cloud/stacks.py"
            )
    if unknown := given - (template.get("Parameters") or {}).keys():
        raise invalid(f"Parameters: [{', '.join(sorted(unknown))}] do not exist in the template")
