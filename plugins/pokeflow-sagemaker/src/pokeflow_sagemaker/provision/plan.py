"""Steps from the current to the desired state; each can be shown, applied, or left to a user with more rights."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import Any, Final, Literal

from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision import buckets, names, projects, stacks, templates
from pokeflow_sagemaker.provision.current import POLICY, CurrentState, differences
from pokeflow_sagemaker.provision.desired import DesiredState

CREATE: Final = "create"
UPDATE: Final = "update"
KEEP: Final = "keep"


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the plan: the action, the kind and name of the resource, and the reason."""

    action: Literal["create", "update", "keep"]
    what: str
    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Changes that are applied together by ``do``; ``do`` None: there is nothing to do.

    ``do`` returns False and changes nothing if another process has changed the state in the meantime. ``key``
    identifies the step if AWS denies it, and ``how`` is the command for a user with the rights. A ``small`` step does
    not affect the steps after it, so the state need not be read again.
    """

    key: str
    changes: tuple[Change, ...]
    do: Callable[[], object] | None = None
    how: str = ""
    small: bool = False


@dataclass(frozen=True, slots=True)
class Leftover:
    """A change that these credentials have no right to apply: the reason, and the command for a user with the right."""

    what: str
    why: str
    how: str = field(default="")


def steps(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> list[Step]:
    """Return the steps in their order; ``refused`` has the keys of steps that AWS denied, with the reasons."""
    foundation = [_foundation(desired, current, refused), *_bucket(desired, current, refused)]
    if current.owns_bucket and not current.bucket:
        foundation.reverse()  # the stack cannot update a bucket that was deleted
    return [
        *foundation,
        *_roles(desired, current, refused),
        *_project(desired, current, refused),
        *_group(desired, current, refused),
    ]


def remaining(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> list[Leftover]:
    """Return the denied changes with the commands for them in the current state, unreadable parts, deleted roles."""
    leftovers = [
        Leftover(", ".join(f"{c.what} {c.name}" for c in step.changes if c.action != KEEP), refused[step.key], step.how)
        for step in steps(desired, current, {})
        if step.key in refused and step.do is not None
    ]
    labels = {"bucket": "settings of the bucket", "roles": "policies of the roles"}
    leftovers += [
        Leftover(labels[part], f"cannot be read, so they are not checked. {why}")
        for part, why in current.unknown.items()
        if part in labels and not (part == "roles" and current.usable_stack is None)
    ]
    return leftovers + [
        Leftover(
            f"role {name}",
            f"was deleted outside stack {desired.stack}.",
            _recreate_command(desired, name),
        )
        for name in current.deleted_roles
    ]


def _recreate_command(desired: DesiredState, role: str) -> str:
    kind = role.rpartition("-")[2]
    arn = desired.location.role(role)
    return (
        f"pokeflow provision 'cloud.provision.params.roles.{kind}={arn}' (removes the role from the stack), then again "
        "without this setting (the stack creates it again)"
    )


def _foundation(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> Step:
    why = differences(desired, current, current.roles)
    parameters = desired.foundation(current.owns_bucket or not current.bucket, current.roles)
    changes = _stack_changes(desired, current, parameters, why)
    if not why or "stack" in refused:
        unchanged = tuple(Change(KEEP, c.what, c.name, c.why) for c in changes if c.action == KEEP)
        return Step("stack", unchanged)

    def do() -> bool:
        text = templates.read_template("foundation")
        return stacks.put(desired.region, desired.stack, text, parameters, desired.tags, current.stack) is not None

    return Step("stack", changes, do, _deploy_command(desired, parameters))


def _stack_changes(
    desired: DesiredState, current: CurrentState, parameters: Mapping[str, str], why: list[str]
) -> tuple[Change, ...]:
    """Return the changes of the stack and of each of its resources."""
    stack = current.usable_stack
    if stack is not None:
        rows = [Change(UPDATE if why else KEEP, "stack", desired.stack, "; ".join(why) or stack.status)]
        if current.owns_bucket and current.bucket:
            rows.append(Change(KEEP, "bucket", desired.bucket, "managed by the stack"))
        return (
            *rows,
            *(
                _existing_role(current, kind)
                or Change(KEEP, "role", names.role(desired.name, kind), "managed by the stack")
                for kind in names.ROLES
            ),
        )
    again = f" an earlier attempt failed ({current.stack.status})" if current.stack else ""
    rows = [Change(CREATE, "stack", desired.stack, f"contains the resources below;{again}".rstrip(";"))]
    created = templates.resources_of("foundation", parameters, desired.location)
    if "OwnKey" in created:
        rows.append(Change(CREATE, "key", f"alias/{desired.project}", "encrypts the bucket"))
    if "Bucket" in created:
        rows.append(Change(CREATE, "bucket", desired.bucket, "versioned, encrypted, no public access, TLS only"))
    for kind in names.ROLES:
        description = str(created.get(kind.title(), {}).get("Properties", {}).get("Description", "")).removeprefix(
            "pokeflow: "
        )
        rows.append(
            _existing_role(current, kind) or Change(CREATE, "role", names.role(desired.name, kind), description)
        )
    return tuple(rows)


def _existing_role(current: CurrentState, kind: str) -> Change | None:
    """Return the line of a role that the stack does not create; None if it does."""
    if kind not in current.roles:
        return None
    return Change(KEEP, "role", current.roles[kind].rpartition("/")[2], "exists already; its policies stay unchanged")


def _deploy_command(desired: DesiredState, parameters: Mapping[str, str]) -> str:
    """Return the command that creates or updates the stack, for a user who may create roles."""
    file = resources.files("pokeflow_sagemaker.provision").joinpath("foundation.yaml")
    words = ["aws", "cloudformation", "deploy", "--region", desired.region, "--stack-name", desired.stack]
    words += ["--template-file", str(file), "--capabilities", "CAPABILITY_NAMED_IAM", "--parameter-overrides"]
    words += [f"{name}={value}" for name, value in parameters.items()]
    return shlex.join([*words, "--tags", *(f"{key}={value}" for key, value in desired.tags.items())])


def _bucket(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> list[Step]:
    if not current.bucket:
        if "bucket" in refused or not ("stack" in refused or current.owns_bucket):
            return []  # the stack creates it
        why = "was deleted by hand" if current.owns_bucket else "outside the stack, which cannot be created"
        change = Change(CREATE, "bucket", desired.bucket, why)
        how = f"aws s3api create-bucket --bucket {desired.bucket} --region {desired.region}"
        return [
            Step("bucket", (change,), partial(buckets.create, desired.location, desired.bucket, desired.project), how)
        ]
    rows = [] if current.owns_bucket else [Change(KEEP, "bucket", desired.bucket, "exists already, stays unchanged")]
    if current.owns_bucket and differences(desired, current, current.roles):
        return []  # the stack has to be updated first
    gaps = [
        Step(
            f"bucket {gap.name}",
            (Change(UPDATE, "bucket", desired.bucket, f"{gap.name} {gap.why}"),),
            partial(buckets.fix, desired.location, desired.bucket, gap),
            _command("s3api", gap.method, {"Bucket": desired.bucket, **gap.request}),
            small=True,
        )
        for gap in current.gaps
        if f"bucket {gap.name}" not in refused
    ]
    return [Step("bucket", tuple(rows)), *gaps] if rows else gaps


def _roles(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> list[Step]:
    def step(name: str, document: Any) -> Step:
        request = {"RoleName": name, "PolicyName": POLICY, "PolicyDocument": json.dumps(document)}
        iam = aws.client("iam", desired.region)
        change = Change(UPDATE, "role", name, "its policy was changed by hand")
        do = partial(aws.ask, iam.put_role_policy, f"role {name}", **request)
        return Step(f"role {name}", (change,), do, _command("iam", "put_role_policy", request), small=True)

    return [step(name, document) for name, document in current.drifted.items() if f"role {name}" not in refused]


def _project(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> list[Step]:
    project = current.project
    if project is not None and not project.is_ours:
        return [Step("project", (Change(KEEP, "project", desired.name, "exists, created from another template"),))]
    text = templates.read_template("project")
    key = projects.key(desired.prefix, text)
    parameters = desired.project_parameters(current.owns_group or not current.group)
    provider: dict[str, Any] = {
        "TemplateName": projects.TEMPLATE,
        "TemplateURL": projects.url(desired.location, desired.bucket, key),
        "Parameters": [{"Key": k, "Value": v} for k, v in sorted(parameters.items())],
    }
    if role := _template_role(desired, current):
        provider["RoleARN"] = role
    why = _project_why(current, provider["TemplateURL"], parameters)
    if why is None or "project" in refused:
        row = (Change(KEEP, "project", desired.name, f"{project.id}, {project.status}"),) if project else ()
        return [Step("project", row)]
    action: Literal["create", "update"] = UPDATE if project else CREATE
    rows = [Change(action, "project", desired.name, why)]
    if not current.group:
        rows.append(Change(CREATE, "model package group", desired.group, "for the project's models in the registry"))

    def do() -> bool:
        projects.upload(desired.region, desired.bucket, key, text)
        description = desired.params.description
        return projects.put(desired.region, desired.name, description, provider, desired.project, project) is not None

    request = {"ProjectName": desired.name, "TemplateProviders": [{"CfnTemplateProvider": provider}]}
    return [Step("project", tuple(rows), do, _command("sagemaker", "create_project", request))]


def _template_role(desired: DesiredState, current: CurrentState) -> str:
    """Return the ARN of CloudFormation's role for the project; empty: it has the caller's rights."""
    if current.usable_stack is not None:
        return current.usable_stack.outputs.get("TemplateRoleArn", "")
    return current.roles.get("template", "")


def _project_why(current: CurrentState, url: str, parameters: Mapping[str, str]) -> str | None:
    """Return the reason to create or update the project; None if it is up to date."""
    project = current.project
    if project is None:
        return "from the template in the bucket"
    if project.status.endswith("Failed"):
        return f"{project.status}: another attempt"
    if project.url != url:
        return "its template differs"
    differing = [name for name, value in parameters.items() if (project.parameters or {}).get(name) != value]
    return f"changed parameters: {', '.join(differing)}" if differing else None


def _group(desired: DesiredState, current: CurrentState, refused: Mapping[str, str]) -> list[Step]:
    name = desired.group
    if current.group:
        why = "managed by the project" if current.owns_group else "exists already, stays unchanged"
        return [Step("group", (Change(KEEP, "model package group", name, why),))]
    created_by_project = "project" not in refused and not _project_exists(current)
    if created_by_project or "group" in refused:
        return []
    properties = templates.resources_of("project", desired.project_parameters(True), desired.location)["Models"][
        "Properties"
    ]
    sagemaker = aws.client("sagemaker", desired.region)

    def do() -> None:
        aws.ask(sagemaker.create_model_package_group, f"model package group {name}", **properties)

    change = Change(CREATE, "model package group", name, "outside the project, which does not create it")
    return [Step("group", (change,), do, _command("sagemaker", "create_model_package_group", properties))]


def _project_exists(current: CurrentState) -> bool:
    """Return whether the project exists, so that its template will not create the group any more."""
    return current.project is not None and not current.project.status.endswith("Failed")


def _command(service: str, method: str, request: Mapping[str, Any]) -> str:
    """Format a request as a command of the AWS CLI."""
    from botocore import xform_name

    words = ["aws", service, method.replace("_", "-")]
    for name, value in request.items():
        plain = value if isinstance(value, str) else json.dumps(value)
        words += [f"--{xform_name(name, '-')}", plain]
    return shlex.join(words)
