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
        bucket: whether the bucket exists.
        stack: the foundation's stack, if it exists.
        text: text of the stack's template.
        project: the SageMaker Project, if it exists.
        group: whether the model package group exists.
        roles: ARNs by kind of the roles that the stack does not own.
        gaps: settings of the bucket that differ from the template.
        drifted: desired policy documents of the stack's roles whose policy differs, by role name.
        gone: names of the stack's roles that were deleted.
        unknown: reasons by part for the parts that the credentials have no right to read.

    """

    bucket: bool
    stack: Stack | None = None
    text: str = ""
    project: Project | None = None
    group: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    drifted: Mapping[str, Any] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def stands(self) -> Stack | None:
        """The stack, unless its creation failed."""
        return None if self.stack is None or self.stack.is_void else self.stack

    @property
    def owns_bucket(self) -> bool:
        """True if the stack created the bucket."""
        return self.stands is not None and self.stands.parameters.get("MakeBucket") == "true"

    @property
    def owns_group(self) -> bool:
        """True if the project's template created the model package group."""
        return bool(self.project and (self.project.parameters or {}).get("MakeGroup") == "true")

    @property
    def key_arn(self) -> str:
        """ARN of the KMS key in the stack's outputs, or an empty string."""
        return self.stands.outputs.get("KeyArn", "") if self.stands else ""


def read_state(desired: DesiredState) -> CurrentState:
    """Read the current state of everything that the project should have; wait for changes in progress first."""
    unknown: dict[str, str] = {}

    def seen(what: str, read: Callable[[], Any], otherwise: Any = None) -> Any:
        try:
            return read()
        except aws.AccessDeniedError as error:
            unknown[what] = str(error)
            return otherwise

    region = desired.region
    there = buckets.exists(desired.place, desired.bucket)
    stack: Stack | None = seen("stack", lambda: stacks.find(region, desired.stack))
    if stack is not None:
        stacks.require_ours(stack, desired.project)
        if stack.is_busy:
            stack = stacks.wait_for_stack(region, desired.stack)
    text = seen("stack", lambda: stacks.body(region, desired.stack), "") if stack else ""
    project: Project | None = seen("project", lambda: projects.find(region, desired.name))
    if project is not None and project.is_busy:
        project = projects.wait_for_project(region, desired.name)
    group = seen("group", lambda: _group(desired), False)
    found = CurrentState(there, stack, text, project, group, unknown=unknown)
    roles = _foreign(desired, found, seen)
    resources = desired.resources(roles, found.key_arn)
    drifted, gone = _drift(desired, found, roles, resources, seen)
    gaps = seen("bucket", lambda: _gaps(desired, found, resources), []) if there else []
    return CurrentState(there, stack, text, project, group, roles, tuple(gaps), drifted, gone, unknown)


def _gaps(desired: DesiredState, found: CurrentState, resources: dict[str, Any]) -> list[Gap]:
    whole = found.owns_bucket or buckets.is_ours(desired.place, desired.bucket, desired.project)
    return buckets.gaps(desired.place, desired.bucket, resources, whole)


def _group(desired: DesiredState) -> bool:
    sagemaker = aws.client("sagemaker", desired.region)
    what = f"model package group {desired.group}"
    try:
        aws.ask(sagemaker.describe_model_package_group, what, ModelPackageGroupName=desired.group)
    except aws.NotFoundError:
        return False
    return True


def _foreign(desired: DesiredState, found: CurrentState, seen: Callable[..., Any]) -> dict[str, str]:
    """Return the ARNs of roles that the stack does not own: configured ones, and existing ones of the same name."""
    roles = dict(desired.params.roles)
    for kind in names.ROLES:
        if kind in roles:
            continue
        if found.stands is not None:
            if arn := found.stands.parameters.get(PARAMETERS[kind]):
                roles[kind] = arn
        elif arn := seen("roles", lambda kind=kind: _role(names.role(desired.name, kind), desired.region)):
            roles[kind] = arn
    return roles


def _role(name: str, region: str) -> str | None:
    found = aws.find(aws.client("iam", region).get_role, f"role {name}", RoleName=name)
    return None if found is None else str(found["Role"]["Arn"])


def _drift(
    desired: DesiredState,
    found: CurrentState,
    roles: Mapping[str, str],
    resources: dict[str, Any],
    seen: Callable[..., Any],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the desired policies of the stack's roles that were changed by hand, and the names of deleted roles.

    Both are empty unless the stack is up to date: otherwise the stack's update comes first.
    """
    if found.stands is None or differences(desired, found, roles):
        return {}, ()
    iam = aws.client("iam", desired.region)
    drifted, gone = {}, []
    for kind in (kind for kind in names.ROLES if kind not in roles):
        made = resources[kind.title()]["Properties"]
        name, document = made["RoleName"], made["Policies"][0]["PolicyDocument"]
        if not seen("roles", lambda name=name: _role(name, desired.region), name):
            gone.append(name)
            continue
        ask = {"RoleName": name, "PolicyName": POLICY}
        try:
            there = seen(
                "roles", lambda ask=ask: aws.ask(iam.get_role_policy, "role", **ask)["PolicyDocument"], document
            )
        except aws.NotFoundError:
            there = None
        if not buckets.same_policy(there, document):
            drifted[name] = document
    return drifted, tuple(gone)


def differences(desired: DesiredState, found: CurrentState, roles: Mapping[str, str]) -> list[str]:
    """Return the differences between current and desired stack, as phrases."""
    from pokeflow_sagemaker.provision import templates

    stack = found.stands
    if stack is None:
        return ["is not there"]
    said = (
        [] if stacks.same_text(found.text, templates.read_template("foundation")) else ["its template is another one"]
    )
    asked = desired.foundation(found.owns_bucket or not found.bucket, roles)
    other = sorted(name for name, value in asked.items() if stack.parameters.get(name) != value)
    return said + [f"{name} becomes {asked[name]!r}" for name in other]
