"""Current state of a project on AWS, by read requests only; parts without read access are unknown, with a reason."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision import buckets, names, projects, stacks
from pokeflow_sagemaker.provision.buckets import Gap
from pokeflow_sagemaker.provision.desired import PARAMETERS, DesiredState
from pokeflow_sagemaker.provision.projects import Project
from pokeflow_sagemaker.provision.stacks import Stack

POLICY = "pokeflow"
"""Name of the inline policy of each role."""


@dataclass(frozen=True, slots=True)
class CurrentState:
    """Current state of a project on AWS.

    Attributes:
        bucket: Whether the bucket exists.
        stack: The foundation's stack, if it exists.
        text: Text of the stack's template.
        project: The SageMaker Project, if it exists.
        group: Whether the model package group exists.
        roles: ARNs by kind of the roles that the stack does not own.
        gaps: Settings of the bucket that differ from the template.
        drifted: Desired policy documents of the stack's roles whose policy differs, by role name.
        deleted_roles: Names of the stack's roles that were deleted.
        unknown: Reasons by part for the parts that the credentials have no right to read.

    """

    bucket: bool
    stack: Stack | None = None
    text: str = ""
    project: Project | None = None
    group: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    drifted: Mapping[str, Any] = field(default_factory=dict)
    deleted_roles: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable_stack(self) -> Stack | None:
        """The stack, unless its creation failed."""
        return None if self.stack is None or self.stack.is_void else self.stack

    @property
    def owns_bucket(self) -> bool:
        """True if the stack created the bucket."""
        return self.usable_stack is not None and self.usable_stack.parameters.get("MakeBucket") == "true"

    @property
    def owns_group(self) -> bool:
        """True if the project's template created the model package group."""
        return bool(self.project and (self.project.parameters or {}).get("MakeGroup") == "true")

    @property
    def key_arn(self) -> str:
        """ARN of the KMS key in the stack's outputs, or an empty string."""
        return self.usable_stack.outputs.get("KeyArn", "") if self.usable_stack else ""


def read_state(desired: DesiredState) -> CurrentState:
    """Read the current state of everything that the project should have; wait for changes in progress first."""
    unknown: dict[str, str] = {}

    def read_part(part: str, read: Callable[[], Any], default: Any = None) -> Any:
        try:
            return read()
        except aws.AccessDeniedError as error:
            unknown[part] = str(error)
            return default

    region = desired.region
    bucket_exists = buckets.exists(desired.location, desired.bucket)
    stack: Stack | None = read_part("stack", lambda: stacks.find(region, desired.stack))
    if stack is not None:
        stacks.require_ours(stack, desired.project)
        if stack.is_busy:
            stack = stacks.wait_for_stack(region, desired.stack)
    text = read_part("stack", lambda: stacks.body(region, desired.stack), "") if stack else ""
    project: Project | None = read_part("project", lambda: projects.find(region, desired.name))
    if project is not None and project.is_busy:
        project = projects.wait_for_project(region, desired.name)
    group = read_part("group", lambda: _group(desired), False)
    current = CurrentState(bucket_exists, stack, text, project, group, unknown=unknown)
    roles = _foreign_roles(desired, current, read_part)
    resources = desired.resources(roles, current.key_arn)
    drifted, deleted_roles = _drift(desired, current, roles, resources, read_part)
    gaps = read_part("bucket", lambda: _gaps(desired, current, resources), []) if bucket_exists else []
    return CurrentState(bucket_exists, stack, text, project, group, roles, tuple(gaps), drifted, deleted_roles, unknown)


def _gaps(desired: DesiredState, current: CurrentState, resources: dict[str, Any]) -> list[Gap]:
    exclusive = current.owns_bucket or buckets.is_ours(desired.location, desired.bucket, desired.project)
    return buckets.gaps(desired.location, desired.bucket, resources, exclusive)


def _group(desired: DesiredState) -> bool:
    sagemaker = aws.client("sagemaker", desired.region)
    resource = f"model package group {desired.group}"
    try:
        aws.ask(sagemaker.describe_model_package_group, resource, ModelPackageGroupName=desired.group)
    except aws.NotFoundError:
        return False
    return True


def _foreign_roles(desired: DesiredState, current: CurrentState, read_part: Callable[..., Any]) -> dict[str, str]:
    """Return the ARNs of roles that the stack does not own: configured ones, and existing ones of the same name."""
    roles = dict(desired.params.roles)
    for kind in names.ROLES:
        if kind in roles:
            continue
        if current.usable_stack is not None:
            if arn := current.usable_stack.parameters.get(PARAMETERS[kind]):
                roles[kind] = arn
        elif arn := read_part("roles", lambda kind=kind: _role_arn(names.role(desired.name, kind), desired.region)):
            roles[kind] = arn
    return roles


def _role_arn(name: str, region: str) -> str | None:
    current = aws.find(aws.client("iam", region).get_role, f"role {name}", RoleName=name)
    return None if current is None else str(current["Role"]["Arn"])


def _drift(
    desired: DesiredState,
    current: CurrentState,
    roles: Mapping[str, str],
    resources: dict[str, Any],
    read_part: Callable[..., Any],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the desired policies of the stack's roles that were changed by hand, and the names of deleted roles.

    Both are empty unless the stack is up to date: otherwise the stack's update comes first.
    """
    if current.usable_stack is None or differences(desired, current, roles):
        return {}, ()
    iam = aws.client("iam", desired.region)
    drifted, deleted_roles = {}, []
    for kind in (kind for kind in names.ROLES if kind not in roles):
        properties = resources[kind.title()]["Properties"]
        name, document = properties["RoleName"], properties["Policies"][0]["PolicyDocument"]
        if not read_part("roles", lambda name=name: _role_arn(name, desired.region), name):
            deleted_roles.append(name)
            continue
        ask = {"RoleName": name, "PolicyName": POLICY}
        try:
            existing = read_part(
                "roles", lambda ask=ask: aws.ask(iam.get_role_policy, "role", **ask)["PolicyDocument"], document
            )
        except aws.NotFoundError:
            existing = None
        if not buckets.same_policy(existing, document):
            drifted[name] = document
    return drifted, tuple(deleted_roles)


def differences(desired: DesiredState, current: CurrentState, roles: Mapping[str, str]) -> list[str]:
    """Return the differences between current and desired stack, as phrases."""
    from pokeflow_sagemaker.provision import templates

    stack = current.usable_stack
    if stack is None:
        return ["does not exist"]
    phrases = [] if stacks.same_text(current.text, templates.read_template("foundation")) else ["its template differs"]
    expected = desired.foundation(current.owns_bucket or not current.bucket, roles)
    differing = sorted(name for name, value in expected.items() if stack.parameters.get(name) != value)
    return phrases + [f"{name} becomes {expected[name]!r}" for name in differing]
