"""The SageMaker Project: read, create from the template in the bucket, update, and wait."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pokeflow import PokeflowError
from pokeflow.progress import bar
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.provision import stacks
from pokeflow_sagemaker.provision.names import TAG, AccountRegion

TEMPLATE = "pokeflow"
"""Name of the template within the project."""

CORRECT = "Correct the cause and run the same command again."

NEW_ROLE = 60.0
"""Seconds until a new role is known in all of AWS."""


@dataclass(frozen=True, slots=True)
class Project:
    """A SageMaker Project; ``url`` and ``parameters`` are those of pokeflow's template, if it was created from it."""

    name: str
    id: str
    arn: str
    status: str
    url: str = ""
    parameters: Mapping[str, str] | None = None
    message: str = ""

    @property
    def is_ours(self) -> bool:
        """True if it was created from pokeflow's template."""
        return self.parameters is not None

    @property
    def is_busy(self) -> bool:
        """True while an operation on it is in progress."""
        return self.status == "Pending" or self.status.endswith("InProgress")


def find(region: str, name: str) -> Project | None:
    """Return the project of this name, or None if it does not exist."""
    sagemaker = aws.client("sagemaker", region)
    response = aws.find(sagemaker.describe_project, f"project {name}", ProjectName=name)
    if response is None or response["ProjectStatus"] == "DeleteCompleted":
        return None
    providers = [d.get("CfnTemplateProviderDetail", {}) for d in response.get("TemplateProviderDetails", ())]
    provider = next((d for d in providers if d.get("TemplateName") == TEMPLATE), None)
    return Project(
        name=response["ProjectName"],
        id=response["ProjectId"],
        arn=response["ProjectArn"],
        status=response["ProjectStatus"],
        url=provider["TemplateURL"] if provider else "",
        parameters={p["Key"]: p.get("Value", "") for p in provider.get("Parameters", ())} if provider else None,
        message=str(provider.get("StackDetail", {}).get("StatusMessage", "")) if provider else "",
    )


def key(prefix: str, text: str) -> str:
    """Return the key of a template in the bucket, which contains a hash of its text."""
    return f"{prefix}provision/project-{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"


def url(location: AccountRegion, bucket: str, key: str) -> str:
    """Return the HTTPS URL at which CloudFormation reads an object."""
    host = f"s3.{location.region}.{location.suffix}"
    # S3's wildcard certificate does not cover bucket names with dots.
    return f"https://{host}/{bucket}/{key}" if "." in bucket else f"https://{bucket}.{host}/{key}"


def upload(region: str, bucket: str, key: str, text: str) -> None:
    """Upload a template to the bucket, unless the key exists.

    Args:
        region: AWS region.
        bucket: Name of the bucket.
        key: Key of the template in the bucket.
        text: The template.

    """
    s3 = aws.client("s3", region)
    try:
        aws.ask(s3.head_object, f"s3://{bucket}/{key}", Bucket=bucket, Key=key)
    except aws.NotFoundError:
        resource = f"s3://{bucket}/{key}"
        aws.ask(s3.put_object, resource, Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/yaml")


def put(
    region: str, name: str, description: str, provider: Mapping[str, Any], project: str, planned: Project | None
) -> Project | None:
    """Create or update a project from its template, and wait for it.

    Args:
        region: AWS region.
        name: Name of the project.
        description: Its description.
        provider: The template's URL, parameters and role.
        project: Value of the project's tag.
        planned: The project that the plan is based on, or None.

    Returns:
        The project; None if it differs from ``planned`` by now, and nothing was done.

    Raises:
        PokeflowError: If creation or update failed.

    """
    sagemaker = aws.client("sagemaker", region)
    resource, before = f"project {name}", find(region, name)
    if before is not None and before.is_busy:
        before = wait_for_project(region, name)
    if before is not None and (planned is None or (before.id, before.parameters) != (planned.id, planned.parameters)):
        return None
    if before is not None and before.status in ("CreateFailed", "DeleteFailed"):
        _delete_failed(region, before)
        before = None
    if before is None:
        request = {"ProjectName": name, "TemplateProviders": [{"CfnTemplateProvider": dict(provider)}]}
        if description:
            request["ProjectDescription"] = description[:1024]
        with suppress(aws.AlreadyExistsError):  # by another run, or by a retry of this request: wait for it
            _create(sagemaker, resource, {**request, "Tags": [{"Key": TAG, "Value": project}]})
    else:
        change = {k: v for k, v in provider.items() if k != "RoleARN"}
        request = {"ProjectName": name, "TemplateProvidersToUpdate": [{"CfnTemplateProvider": change}]}
        aws.ask(sagemaker.update_project, resource, **request)
    return wait_for_project(region, name)


def _create(sagemaker: Any, resource: str, request: Mapping[str, Any]) -> None:
    """Create the project; retry while a new role is not yet known to SageMaker, which takes some seconds."""
    refusal: aws.RefusedError | None = None
    for _ in stacks.poll(NEW_ROLE):
        try:
            aws.ask(sagemaker.create_project, resource, **request)
            return
        except aws.RefusedError as error:
            if "assume" not in str(error).lower():
                raise
            refusal = error
    raise refusal or stacks.timeout_error(resource)


def wait_for_project(region: str, name: str) -> Project:
    """Wait until no operation on a project is in progress and return it; raise a PokeflowError if that failed."""
    with bar(f"project {name}", 1) as advance:
        for _ in stacks.poll():
            project = find(region, name)
            if project is None:
                raise PokeflowError(f"project {name}: was deleted during the wait. Run the same command again.")
            if project.status in ("CreateFailed", "UpdateFailed"):
                raise PokeflowError(
                    f"project {name}: {project.status}. {CORRECT} AWS says: {aws.clean(project.message)}"
                )
            if not project.is_busy:
                return project
            advance(0, project.status)
    raise stacks.timeout_error(f"project {name}")


def _delete_failed(region: str, project: Project) -> None:
    """Delete a project of pokeflow whose creation or deletion failed."""
    if not project.is_ours:
        raise PokeflowError(f"project {project.name}: {project.status}, and not created by pokeflow. Delete it first.")
    sagemaker = aws.client("sagemaker", region)
    aws.ask(sagemaker.delete_project, f"project {project.name}", ProjectName=project.name)
    for _ in stacks.poll():
        now = find(region, project.name)
        if now is None:
            return
        if now.status == "DeleteFailed":
            raise PokeflowError(
                f"project {project.name}: cannot be deleted. {CORRECT} AWS says: {aws.clean(now.message)}"
            )
    raise stacks.timeout_error(f"project {project.name}")
