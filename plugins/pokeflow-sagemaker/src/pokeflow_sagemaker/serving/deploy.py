"""A bundle as an endpoint of SageMaker's, made or updated so that what stood before still can."""

import logging
from typing import Any

from pokeflow import ConfigError, Fault, PokeflowError, Shared
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.provision.names import Place
from pokeflow_sagemaker.serving import alarm, endpoint, health, model, removal
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import VARIANT, DeployParams

log = logging.getLogger("pokeflow")
PULL_S = 600
"""Seconds for the bundle to be fetched, and for the container to be healthy: it installs what it needs first."""


def deploy(params: DeployParams, bundle: Bundle) -> dict[str, Any]:
    """Have an endpoint stand as the parameters say, and ask it something; no call changes what stands so already.

    Returns:
        ``endpoint``, ``url``, ``arn``, ``configuration``, ``changed``, ``usd_per_hour`` (None where it is not known),
        ``price`` (a sentence about it), ``answer_ms`` and ``best_score``.

    Raises:
        PokeflowError: where the endpoint does not answer as it should; an update is undone.

    """
    at = model.where(bundle.shared, params.account)
    name, arn, before = _find(params, bundle.record.model, at)
    usd, said = _price(params, at.region)
    log.info("endpoint %s: %s", name, said)
    wanted = _configured(params, bundle, at, name)
    changed = _ensure(params, bundle, at, name, wanted, before)
    try:
        answer = health.measure_answer(name, at.region, bundle.record)
    except PokeflowError as error:
        raise _undo(at.region, name, before, wanted, error) from error
    return {
        "endpoint": name,
        "url": f"https://runtime.sagemaker.{at.region}.{at.suffix}/endpoints/{name}/invocations",
        "arn": arn,
        "configuration": wanted,
        "changed": changed,
        "usd_per_hour": usd,
        "price": said,
        **answer,
    }


def delete(params: DeployParams, name: str, shared: Shared | None) -> dict[str, Any]:
    """Delete the endpoint of a model by name, and what was made for it alone; the bundle need not be there any more."""
    at = model.where(shared, params.account)
    endpoint_name, _, _ = _find(params, name, at)
    return removal.remove(at.region, endpoint_name)


def _find(params: DeployParams, name: str, at: Place) -> tuple[str, str, endpoint.EndpointState | None]:
    """Return name and ARN of a model's endpoint, and how it stands; PokeflowError where it is another project's."""
    found = params.name or model.base(params.account.project, name)
    arn = at.arn("sagemaker", f"endpoint/{found.lower()}")
    before = endpoint.wait_until_settled(at.region, found)
    if before:
        endpoint.require_ours(at.region, found, arn, params.account.project)
    return found, arn, before


def _price(params: DeployParams, region: str) -> tuple[float | None, str]:
    """US dollars an hour, and a sentence about it; None where nobody knows, or it depends on what is asked."""
    if params.serverless:
        memory = params.serverless_config.memory_mb
        return None, f"serverless with {memory:,} MB: billed by the millisecond of answers, nothing while nobody asks"
    price = prices.hourly(params.instance_type, region, params.prices)
    machines = f"{params.instances} × {params.instance_type}"
    if price.usd is None:
        return None, f"{machines}: what an hour costs is not known: {price.source}"
    usd = price.usd * params.instances
    return (
        usd,
        f"{machines}: about ${usd:,.2f} an hour, ${usd * 730:,.0f} a month, until it is deleted ({price.source})",
    )


def _configured(params: DeployParams, bundle: Bundle, at: Place, name: str) -> str:
    """The name of the endpoint's configuration, which follows from what it says; it is made unless it is there."""
    account = params.account
    runs = model.ensure(bundle, at, account, params.network, params.image, params.source)
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": runs}
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if params.serverless:
        one = params.serverless_config
        variant["ServerlessConfig"] = {"MemorySizeInMB": one.memory_mb, "MaxConcurrency": one.concurrency}
    else:
        variant |= {"InitialInstanceCount": params.instances, "InstanceType": params.instance_type}
        variant |= {"InitialVariantWeight": 1.0, "ModelDataDownloadTimeoutInSeconds": PULL_S}
        variant |= {"ContainerStartupHealthCheckTimeoutInSeconds": PULL_S}
        request |= {"KmsKeyId": account.kms_key} if account.kms_key else {}
    wanted = model.name_by_content(name[: model.LONGEST - model.HASH - 1], request)
    sagemaker, what = aws.client("sagemaker", at.region), f"endpoint configuration {wanted}"
    try:
        aws.ask(sagemaker.describe_endpoint_config, what, EndpointConfigName=wanted)
    except aws.NotFoundError:
        given = {"EndpointConfigName": wanted, **request, "Tags": model.tags(bundle, account)}
        try:
            aws.ask(sagemaker.create_endpoint_config, what, **given)
        except aws.AlreadyExistsError:
            log.debug("%s was made by another at this moment", what)
    return wanted


def _ensure(
    params: DeployParams, bundle: Bundle, at: Place, name: str, wanted: str, before: endpoint.EndpointState | None
) -> str:
    """Make or update the endpoint if need be; what was done, in a word."""
    if before and before.failed:
        log.warning("endpoint %s: it failed before (%s) and serves nothing: it is made anew", name, before.reason)
        endpoint.delete(at.region, name)
        before = None
    if before is None:
        endpoint.create(at.region, name, wanted, model.tags(bundle, params.account))
        return "made"
    if before.configuration == wanted:
        return "nothing"
    if params.serverless and not before.serverless:
        message = (
            f"endpoint {name} has machines, and AWS turns none of these into a serverless one. Delete it first, "
            f"'pokeflow deploy {bundle.record.model} --delete', or give the new one another name."
        )
        raise ConfigError([Fault("cloud.deploy.params.serverless", message)])
    endpoint.update(at.region, name, wanted, before, _rollback_policy(params, at.region, name, before))
    return "updated"


def _rollback_policy(
    params: DeployParams, region: str, name: str, before: endpoint.EndpointState
) -> dict[str, Any] | None:
    """Return how an update goes over to the new machines, and what undoes it; None where there are no machines."""
    if params.serverless or before.serverless:
        return None
    alarms = params.rollback.alarms
    if alarms is None:
        alarms = (alarm.ensure(region, name, VARIANT),)
    bake = params.rollback.bake_seconds if alarms else 0
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": bake}
    if min(params.instances, before.instances) > 1:
        # One of the new machines first; with a single one, all of it is the first.
        routing |= {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0}
    policy["MaximumExecutionTimeoutInSeconds"] = 3600 + 2 * bake
    guarded: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        guarded["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": alarm} for alarm in alarms]}
    return guarded


def _undo(
    region: str, name: str, before: endpoint.EndpointState | None, wanted: str, error: PokeflowError
) -> PokeflowError:
    """Undo an update whose endpoint does not answer as it should, and return the error to raise."""
    if before is None or before.failed:
        logs = f"/aws/sagemaker/Endpoints/{name}"
        return PokeflowError(f"{error} It is left as it is, for you to look at: CloudWatch's log group {logs}.")
    if before.configuration == wanted:
        return PokeflowError(f"{error} Nothing was changed.")
    log.warning("%s Going back to %s", error, before.configuration)
    endpoint.update(region, name, before.configuration, before, None)
    return PokeflowError(f"{error} The update was undone: {before.configuration} answers again.")
