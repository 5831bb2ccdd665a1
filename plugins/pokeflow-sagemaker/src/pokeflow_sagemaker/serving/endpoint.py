"""Operations on an endpoint: create, update, delete, and wait until it is in a stable status."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from pokeflow import PokeflowError
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import waiting
from pokeflow_sagemaker.provision import names

MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
FAILED = ("Failed", "OutOfService", "UpdateRollbackFailed")
"""Statuses that an endpoint cannot leave; according to AWS it can only be deleted."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """State of an endpoint in a stable status; ``reason`` is AWS's failure reason, if there is one."""

    status: str
    configuration: str
    reason: str = ""
    serverless: bool = False
    instances: int = 0

    @property
    def has_failed(self) -> bool:
        """True if it serves nothing and cannot be repaired."""
        return self.status in FAILED


def wait_until_settled(region: str, name: str) -> EndpointState | None:
    """Wait until no operation is in progress and return the endpoint's state, or None if it does not exist."""
    sagemaker, resource = aws.client("sagemaker", region), f"endpoint {name}"
    look = partial(aws.find, sagemaker.describe_endpoint, resource, EndpointName=name)
    description = waiting.until_settled(look, "EndpointStatus", MOVING, resource)
    if description is None:
        return None
    variants = description.get("ProductionVariants") or [{}]
    return EndpointState(
        status=str(description["EndpointStatus"]),
        # The description of a failed endpoint may lack its configuration.
        configuration=str(description.get("EndpointConfigName") or ""),
        reason=aws.clean(str(description.get("FailureReason") or "")),
        serverless=any(variant.get("CurrentServerlessConfig") for variant in variants),
        instances=max(int(variant.get("CurrentInstanceCount") or 0) for variant in variants),
    )


def require_ours(region: str, name: str, arn: str, project: str) -> None:
    """Check that an endpoint has this project's tag, so that no other endpoint is changed or deleted.

    Args:
        region: AWS region.
        name: Name of the endpoint.
        arn: ARN of the endpoint.
        project: Name of the project.

    Raises:
        PokeflowError: If the endpoint lacks the tag.

    """
    sagemaker, resource = aws.client("sagemaker", region), f"endpoint {name}"
    (tag,) = names.tags(project)
    if tag not in aws.pages(sagemaker, "list_tags", "Tags", resource, ResourceArn=arn):
        raise PokeflowError(
            f"{resource}: exists but does not belong to this project: it lacks the tag {tag['Key']}={tag['Value']}. "
            "Nothing was changed. Set another cloud.deploy.params.name, or tag the endpoint if it is yours."
        )


def create(region: str, name: str, configuration: str, tags: list[dict[str, str]]) -> None:
    """Create an endpoint and wait until it is in service.

    Args:
        region: AWS region.
        name: Name of the endpoint.
        configuration: Name of its endpoint configuration.
        tags: Its tags.

    Raises:
        PokeflowError: If the creation fails, with AWS's reason.

    """
    sagemaker, resource = aws.client("sagemaker", region), f"endpoint {name}"
    try:
        aws.ask(sagemaker.create_endpoint, resource, EndpointName=name, EndpointConfigName=configuration, Tags=tags)
    except aws.AlreadyExistsError as error:
        state = wait_until_settled(region, name)
        if state is None or state.configuration != configuration:
            raise PokeflowError(
                f"{resource}: another process just created it with another configuration. Run the same command again."
            ) from error
    state = wait_until_settled(region, name)
    if state is None or state.status != "InService":
        why = state.reason if state and state.reason else "AWS reports no reason"
        raise PokeflowError(
            f"{resource}: could not be created. AWS says: {_sentence(why)} Its log is CloudWatch's log group "
            f"/aws/sagemaker/Endpoints/{name}. The next deploy deletes it and creates it again."
        )


def update(
    region: str, name: str, configuration: str, before: EndpointState, deployment: dict[str, Any] | None
) -> None:
    """Update an endpoint to another configuration and wait until it is in service.

    Args:
        region: AWS region.
        name: The endpoint.
        configuration: Name of the new endpoint configuration.
        before: State before the update.
        deployment: Deployment configuration with the rollback alarms; None: none.

    Raises:
        PokeflowError: If the update failed, with AWS's reason and whether the old configuration serves again.

    """
    sagemaker, resource = aws.client("sagemaker", region), f"endpoint {name}"
    more = {"DeploymentConfig": deployment} if deployment else {}
    try:
        aws.ask(sagemaker.update_endpoint, resource, EndpointName=name, EndpointConfigName=configuration, **more)
    except aws.RefusedError:
        # The response may have been lost and the client's retry refused; then the update is in progress already.
        if configuration not in _configurations(sagemaker, name):
            raise
    state = wait_until_settled(region, name)
    if state and state.status == "InService" and state.configuration == configuration:
        return
    why = _sentence(state.reason if state and state.reason else "AWS reports no reason")
    log = f"/aws/sagemaker/Endpoints/{name}"
    if state and state.status == "InService":
        raise PokeflowError(
            f"{resource}: the update to {configuration} failed and was rolled back: {state.configuration} "
            f"serves as before. AWS says: {why} The log of the failed instances is CloudWatch's log group {log}. "
            "Correct the cause and run the same command again."
        )
    raise PokeflowError(
        f"{resource}: the update from {before.configuration} to {configuration} failed, and so did the rollback: it is "
        f"{state.status if state else 'gone'}. AWS says: {why} The next deploy deletes it and creates it again; its "
        f"log is CloudWatch's log group {log}."
    )


def delete(region: str, name: str) -> bool:
    """Delete an endpoint, wait until it is gone, and return whether it existed."""
    sagemaker, resource = aws.client("sagemaker", region), f"endpoint {name}"
    if wait_until_settled(region, name) is None:
        return False
    refusal: aws.RefusedError | None = None
    try:
        aws.ask(sagemaker.delete_endpoint, resource, EndpointName=name)
    except aws.RefusedError as error:
        refusal = error  # possibly of a retry whose first response was lost, so the endpoint's state decides
    remaining = wait_until_settled(region, name)
    if remaining is not None:
        if refusal:
            raise refusal
        raise PokeflowError(
            f"{resource}: could not be deleted, it is {remaining.status}. AWS says: {_sentence(remaining.reason)} "
            "Correct the cause and run the same command again."
        )
    return True


def _configurations(sagemaker: Any, name: str) -> tuple[str, ...]:
    """Return the names of an endpoint's current configuration and of the one that it is being updated to."""
    description = aws.ask(sagemaker.describe_endpoint, f"endpoint {name}", EndpointName=name)
    summary = description.get("PendingDeploymentSummary") or {}
    return str(description.get("EndpointConfigName")), str(summary.get("EndpointConfigName"))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
