"""CloudFormation's checks before a stack starts, which moto lacks: templates, capabilities, changes."""

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
"""The types of resources, and their properties, that the test cloud creates."""


def check(request: Row, operation: str, state: State) -> None:
    """Refuse a stack's request as CloudFormation does before it starts."""
    from moto.cloudformation.models import Stack
    from moto.cloudformation.utils import get_stack_from_s3_url

    if operation not in ("CreateStack", "UpdateStack", "CreateChangeSet", "ValidateTemplate"):
        return
    body, url = request.get("TemplateBody"), request.get("TemplateURL")
    if role := request.get("RoleARN"):
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
        return  # the previous template
    try:
        template = Stack.parse_template(body)
        resources = {name: dict(about) for name, about in template["Resources"].items()}
    except Exception as error:
        raise invalid(f"Template format error: {error}") from error
    check_template(resources, template, {p["ParameterKey"] for p in request.get("Parameters") or ()})
    named = any(name in (about.get("Properties") or {}) for about in resources.values() for name in IAM_NAMES)
    iam = any(about["Type"].startswith("AWS::IAM::") for about in resources.values())
    granted = set(request.get("Capabilities") or ())
    if iam and operation != "ValidateTemplate":
        enough = {"CAPABILITY_NAMED_IAM"} | (set() if named else {"CAPABILITY_IAM"})
        if not granted & enough:
            lacking = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
            raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{lacking}]")
    if operation == "UpdateStack":
        _check_change(request, template, state)


def _check_change(request: Row, template: Row, state: State) -> None:
    """Refuse an update that changes nothing."""
    from moto.cloudformation.models import cloudformation_backends

    stack = cloudformation_backends[ACCOUNT][state.region].get_stack(request["StackName"])
    before = {k: str(v) for k, v in stack.stack_parameters.items()}
    assigned = {p["ParameterKey"]: p.get("ParameterValue") for p in request.get("Parameters") or ()}
    defaults = {name: about.get("Default") for name, about in (template.get("Parameters") or {}).items()}
    after = {
        name: str(assigned[name] or before.get(name)) if name in assigned else str(v) for name, v in defaults.items()
    }
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
    if template == stack.template_dict and before == after and tags in ({}, stack.tags):
        raise invalid("No updates are to be performed.")


def check_template(resources: dict[str, Row], template: Row, assigned: set[str]) -> None:
    """Refuse types and properties that are not supported here, and unknown parameters."""
    for name, about in resources.items():
        if about["Type"] not in KNOWN:
            raise invalid(f"Template error: resource {name} of type {about['Type']}: add it to cloud/stacks.py")
        if strange := (about.get("Properties") or {}).keys() - set(KNOWN[about["Type"]].split()):
            raise invalid(
                f"Template error: property {sorted(strange)[0]} of {name} ({about['Type']}) is not known: "
                "add it to cloud/stacks.py"
            )
    if unknown := assigned - (template.get("Parameters") or {}).keys():
        raise invalid(f"Parameters: [{', '.join(sorted(unknown))}] do not exist in the template")
