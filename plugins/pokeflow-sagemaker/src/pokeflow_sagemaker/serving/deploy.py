"""Deployment of a bundle to a SageMaker endpoint; an update that fails is rolled back to the former configuration."""

import logging
from typing import Any

from pokeflow import ConfigError, Fault, PokeflowError, RemoteStore
from pokeflow_sagemaker import aws, prices
from pokeflow_sagemaker.provision.names import AccountRegion
from pokeflow_sagemaker.serving import alarm, endpoint, health, model, removal
from pokeflow_sagemaker.serving.bundles import Bundle
from pokeflow_sagemaker.serving.params import VARIANT, DeployParams

log = logging.getLogger("pokeflow")
PULL_S = 600
"""Timeout in seconds to download the bundle, and to become healthy: the container installs its requirements first."""


def deploy(params: DeployParams, bundle: Bundle) -> dict[str, Any]:
    """Create or update an endpoint as the parameters say, and test it; an endpoint that is up to date stays unchanged.

    Returns:
        ``endpoint``, ``url``, ``arn``, ``configuration``, ``change``, ``usd_per_hour`` (None if it is not known),
        ``price`` (a sentence about it), ``answer_ms`` and ``best_score``.

    Raises:
        PokeflowError: If the endpoint does not respond correctly; an update is then rolled back.

    """
    at = model.account_region(bundle.remote_store, params.account)
    name, arn, before = _find(params, bundle.record.model, at)
    usd, price = _price(params, at.region)
    log.info("endpoint %s: %s", name, price)
    configuration = _ensure_configuration(params, bundle, at, name)
    change = _ensure_endpoint(params, bundle, at, name, configuration, before)
    try:
        measurement = health.measure_answer(name, at.region, bundle.record)
    except PokeflowError as error:
        raise _roll_back(at.region, name, before, configuration, error) from error
    return {
        "endpoint": name,
        "url": f"https://runtime.sagemaker.{at.region}.{at.suffix}/endpoints/{name}/invocations",
        "arn": arn,
        "configuration": configuration,
        "changed": change,
        "usd_per_hour": usd,
        "price": price,
        **measurement,
    }


def delete(params: DeployParams, name: str, remote_store: RemoteStore | None) -> dict[str, Any]:
    """Delete the endpoint of a model and the resources that only it uses; its bundle need not exist any more."""
    at = model.account_region(remote_store, params.account)
    endpoint_name, _, _ = _find(params, name, at)
    return removal.remove(at.region, endpoint_name)


def _find(params: DeployParams, name: str, at: AccountRegion) -> tuple[str, str, endpoint.EndpointState | None]:
    """Return name, ARN and state of a model's endpoint; raise a PokeflowError if it is not this project's."""
    endpoint_name = params.name or model.base(params.account.project, name)
    arn = at.arn("sagemaker", f"endpoint/{endpoint_name.lower()}")
    before = endpoint.wait_until_settled(at.region, endpoint_name)
    if before:
        endpoint.require_ours(at.region, endpoint_name, arn, params.account.project)
    return endpoint_name, arn, before


def _price(params: DeployParams, region: str) -> tuple[float | None, str]:
    """Return US dollars per hour and a sentence about it; None if the price is unknown or depends on the requests."""
    if params.serverless:
        memory = params.serverless_config.memory_mb
        return None, f"serverless with {memory:,} MB: billed by the millisecond of compute, nothing while idle"
    price = prices.hourly(params.instance_type, region, params.prices)
    machines = f"{params.instances} × {params.instance_type}"
    if price.usd is None:
        return None, f"{machines}: the price is not known: {price.source}"
    usd = price.usd * params.instances
    return (
        usd,
        f"{machines}: about ${usd:,.2f} per hour, ${usd * 730:,.0f} per month, until it is deleted ({price.source})",
    )


def _ensure_configuration(params: DeployParams, bundle: Bundle, at: AccountRegion, name: str) -> str:
    """Create the endpoint configuration unless it exists, and return its name, which contains a hash of its content."""
    account = params.account
    runs = model.ensure(bundle, at, account, params.network, params.image, params.source)
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": runs}
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if params.serverless:
        config = params.serverless_config
        variant["ServerlessConfig"] = {"MemorySizeInMB": config.memory_mb, "MaxConcurrency": config.concurrency}
    else:
        variant |= {"InitialInstanceCount": params.instances, "InstanceType": params.instance_type}
        variant |= {"InitialVariantWeight": 1.0, "ModelDataDownloadTimeoutInSeconds": PULL_S}
        variant |= {"ContainerStartupHealthCheckTimeoutInSeconds": PULL_S}
        request |= {"KmsKeyId": account.kms_key} if account.kms_key else {}
    configuration = model.name_by_content(name[: model.MAX_NAME_LENGTH - model.HASH_LENGTH - 1], request)
    sagemaker, resource = aws.client("sagemaker", at.region), f"endpoint configuration {configuration}"
    try:
        aws.ask(sagemaker.describe_endpoint_config, resource, EndpointConfigName=configuration)
    except aws.NotFoundError:
        full_request = {"EndpointConfigName": configuration, **request, "Tags": model.tags(bundle, account)}
        try:
            aws.ask(sagemaker.create_endpoint_config, resource, **full_request)
        except aws.AlreadyExistsError:
            log.debug("%s was created by another process at the same time", resource)
    return configuration


def _ensure_endpoint(
    params: DeployParams,
    bundle: Bundle,
    at: AccountRegion,
    name: str,
    configuration: str,
    before: endpoint.EndpointState | None,
) -> str:
    """Create or update the endpoint if necessary, and return "created", "updated" or "nothing"."""
    if before and before.has_failed:
        log.warning("endpoint %s: failed earlier (%s); it is deleted and created again", name, before.reason)
        endpoint.delete(at.region, name)
        before = None
    if before is None:
        endpoint.create(at.region, name, configuration, model.tags(bundle, params.account))
        return "created"
    if before.configuration == configuration:
        return "nothing"
    if params.serverless and not before.serverless:
        message = (
            f"endpoint {name} has instances, and AWS cannot convert it to a serverless one. Delete it first with "
            f"'pokeflow deploy {bundle.record.model} --delete', or set another name."
        )
        raise ConfigError([Fault("cloud.deploy.params.serverless", message)])
    endpoint.update(at.region, name, configuration, before, _rollback_policy(params, at.region, name, before))
    return "updated"


def _rollback_policy(
    params: DeployParams, region: str, name: str, before: endpoint.EndpointState
) -> dict[str, Any] | None:
    """Return the deployment configuration of an update: traffic shift and rollback alarms; None if serverless."""
    if params.serverless or before.serverless:
        return None
    alarms = params.rollback.alarms
    if alarms is None:
        alarms = (alarm.ensure(region, name, VARIANT),)
    bake = params.rollback.bake_seconds if alarms else 0
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": bake}
    if min(params.instances, before.instances) > 1:
        # Shift traffic to one new instance first (canary); this needs at least two instances before and after.
        routing |= {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0}
    policy["MaximumExecutionTimeoutInSeconds"] = 3600 + 2 * bake
    deployment: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": alarm} for alarm in alarms]}
    return deployment


def _roll_back(
    region: str, name: str, before: endpoint.EndpointState | None, configuration: str, error: PokeflowError
) -> PokeflowError:
    """Roll back an update whose endpoint does not respond correctly, and return the error to raise."""
    logs = f"Its log is CloudWatch's log group /aws/sagemaker/Endpoints/{name}."
    if before is None or before.has_failed:
        return PokeflowError(f"{error} The endpoint is kept for inspection. {logs}")
    if before.configuration == configuration:
        return PokeflowError(f"{error} Nothing was changed. {logs}")
    log.warning("%s Rolling back to %s", error, before.configuration)
    endpoint.update(region, name, before.configuration, before, None)
    return PokeflowError(f"{error} The update was rolled back: {before.configuration} serves again. {logs}")
