"""The life of an endpoint: made, updated, deleted, and looked at until it has settled."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from pokeflow import PokeflowError
from pokeflow_sagemaker import aws
from pokeflow_sagemaker.aws import waiting
from pokeflow_sagemaker.provision import names

MOVING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
FAILED = ("Failed", "OutOfService", "UpdateRollbackFailed")
"""Of these AWS says that only deleting helps."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint that has settled: its configuration, its machines, and why it is as it is, if AWS says so."""

    status: str
    configuration: str
    reason: str = ""
    serverless: bool = False
    instances: int = 0

    @property
    def failed(self) -> bool:
        """Whether it serves nothing, and cannot be mended."""
        return self.status in FAILED


def wait_until_settled(region: str, name: str) -> EndpointState | None:
    """Wait until nothing is under way and return the endpoint's state; None where there is none."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    look = partial(aws.find, sagemaker.describe_endpoint, what, EndpointName=name)
    found = waiting.until_settled(look, "EndpointStatus", MOVING, what)
    if found is None:
        return None
    variants = found.get("ProductionVariants") or [{}]
    return EndpointState(
        status=str(found["EndpointStatus"]),
        # A failed one may tell no configuration.
        configuration=str(found.get("EndpointConfigName") or ""),
        reason=aws.clean(str(found.get("FailureReason") or "")),
        serverless=any(variant.get("CurrentServerlessConfig") for variant in variants),
        instances=max(int(variant.get("CurrentInstanceCount") or 0) for variant in variants),
    )


def require_ours(region: str, name: str, arn: str, project: str) -> None:
    """Refuse an endpoint of the same name that is another's: it is neither changed nor deleted."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    (mine,) = names.tags(project)
    if mine not in aws.pages(sagemaker, "list_tags", "Tags", what, ResourceArn=arn):
        raise PokeflowError(
            f"{what}: is there, and is not this project's: it has no tag {mine['Key']}={mine['Value']}. Nothing was "
            "changed. Give yours another name, cloud.deploy.params.name=…, or tag it if it is."
        )


def create(region: str, name: str, configuration: str, tags: list[dict[str, str]]) -> None:
    """Make an endpoint and wait; PokeflowError with AWS's reason where it comes to nothing."""
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
    """Give an endpoint another configuration and wait; PokeflowError with the reason where the old one stands again."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    more = {"DeploymentConfig": guarded} if guarded else {}
    try:
        aws.ask(sagemaker.update_endpoint, what, EndpointName=name, EndpointConfigName=configuration, **more)
    except aws.RefusedError:
        # The answer may have been lost, and the same request been made again: what was asked for is under way then.
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
    """Delete an endpoint and wait until it is gone; False where there was none."""
    sagemaker, what = aws.client("sagemaker", region), f"endpoint {name}"
    if wait_until_settled(region, name) is None:
        return False
    refusal: aws.RefusedError | None = None
    try:
        aws.ask(sagemaker.delete_endpoint, what, EndpointName=name)
    except aws.RefusedError as error:
        refusal = error  # also of a request that was made again since its answer was lost
    left = wait_until_settled(region, name)
    if left is not None:
        if refusal:
            raise refusal
        raise PokeflowError(f"{what}: could not be deleted, it is {left.status}. AWS says: {_sentence(left.reason)}")
    return True


def _named(sagemaker: Any, name: str) -> tuple[str, ...]:
    """The configurations that an endpoint has and is on its way to."""
    found = aws.ask(sagemaker.describe_endpoint, f"endpoint {name}", EndpointName=name)
    summary = found.get("PendingDeploymentSummary") or {}
    return str(found.get("EndpointConfigName")), str(summary.get("EndpointConfigName"))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
