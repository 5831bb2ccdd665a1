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
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    look = partial(aws.find, sagemaker.describe_endpoint, what, EndpointName=name)
    found = waiting.until_settled(look, "EndpointStatus", MOVING, what)
    if found is None:
        return None
    variants = found.get("ProductionVariants") or [{}]
    return EndpointState(
        status=str(found["EndpointStatus"]),
        # The description of a failed endpoint may lack its configuration.
        configuration=str(found.get("EndpointConfigName") or ""),
        reason=aws.clean(str(found.get("FailureReason") or "")),
        serverless=any(variant.get("CurrentServerlessConfig") for variant in variants),
        instances=max(int(variant.get("CurrentInstanceCount") or 0) for variant in variants),
    )


def require_ours(region: str, name: str, arn: str, project: str) -> None:
    """Raise a PokeflowError if an endpoint lacks this project's tag, so that it is neither changed nor deleted."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    (mine,) = names.tags(project)
    if mine not in aws.pages(sagemaker, "list_tags", "Tags", what, ResourceArn=arn):
        raise PokeflowError(
            f"{what}: is there, and is not this project's: it has no tag {mine['Key']}={mine['Value']}. Nothing was "
            "changed. Give yours another name, cloud.deploy.params.name=…, or tag it if it is."
        )


def create(region: str, name: str, configuration: str, tags: list[dict[str, str]]) -> None:
    """Create an endpoint and wait until it is in service; raise a PokeflowError with AWS's reason if it fails."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    try:
        aws.ask(sagemaker.create_endpoint, what, EndpointName=name, EndpointConfigName=configuration, Tags=tags)
    except aws.AlreadyExistsError as error:
        found = wait_until_settled(region, name)
        if found is None or found.configuration != configuration:
            raise PokeflowError(f"{what}: another has made it this moment, otherwise. Run this again.") from error
    found = wait_until_settled(region, name)
    if found is None or found.status != "InService":
        why = found.reason if found and found.reason else "AWS gives no reason"
        raise PokeflowError(
            f"{what}: could not be made. AWS says: {_sentence(why)} Its log is CloudWatch's log group "
            f"/aws/sagemaker/Endpoints/{name}. It serves nothing; the next deploy begins anew."
        )


def update(region: str, name: str, configuration: str, before: EndpointState, guarded: dict[str, Any] | None) -> None:
    """Update an endpoint to another configuration and wait until it is in service.

    Args:
        region: AWS region.
        name: the endpoint.
        configuration: name of the new endpoint configuration.
        before: state before the update.
        guarded: deployment configuration with the rollback alarms; None: none.

    Raises:
        PokeflowError: if the update failed, with AWS's reason and whether the old configuration serves again.

    """
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    more = {"DeploymentConfig": guarded} if guarded else {}
    try:
        aws.ask(sagemaker.update_endpoint, what, EndpointName=name, EndpointConfigName=configuration, **more)
    except aws.RefusedError:
        # The response may have been lost and the client's retry refused; then the update is in progress already.
        if configuration not in _named(sagemaker, name):
            raise
    found = wait_until_settled(region, name)
    if found and found.status == "InService" and found.configuration == configuration:
        return
    why = _sentence(found.reason if found and found.reason else "AWS gives no reason")
    log = f"/aws/sagemaker/Endpoints/{name}"
    if found and found.status == "InService":
        raise PokeflowError(
            f"{what}: the update to {configuration} failed and was rolled back: {found.configuration} stands and "
            f"answers as before. AWS says: {why} The log of the machines that failed is CloudWatch's log group {log}. "
            "Mend what it tells and run this again."
        )
    raise PokeflowError(
        f"{what}: the update from {before.configuration} to {configuration} failed, and so did going back: it is "
        f"{found.status if found else 'gone'}. AWS says: {why} The next deploy deletes it and makes it anew; its log "
        f"is CloudWatch's log group {log}."
    )


def delete(region: str, name: str) -> bool:
    """Delete an endpoint, wait until it is gone, and return whether it existed."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    if wait_until_settled(region, name) is None:
        return False
    refusal: aws.RefusedError | None = None
    try:
        aws.ask(sagemaker.delete_endpoint, what, EndpointName=name)
    except aws.RefusedError as error:
        refusal = error  # possibly of a retry whose first response was lost, so the endpoint's state decides
    left = wait_until_settled(region, name)
    if left is not None:
        if refusal:
            raise refusal
        raise PokeflowError(f"{what}: could not be deleted, it is {left.status}. AWS says: {_sentence(left.reason)}")
    return True


def _named(sagemaker: Any, name: str) -> tuple[str, ...]:
    """Return the names of an endpoint's current configuration and of the one that it is being updated to."""
    found = aws.ask(sagemaker.describe_endpoint, f"endpoint {name}", EndpointName=name)
    summary = found.get("PendingDeploymentSummary") or {}
    return str(found.get("EndpointConfigName")), str(summary.get("EndpointConfigName"))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
