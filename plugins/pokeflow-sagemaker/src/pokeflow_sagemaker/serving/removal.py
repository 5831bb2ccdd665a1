"""Removal of an endpoint and the resources that only it uses: endpoint configurations, models, the alarm."""

import re
from collections.abc import Callable
from typing import Any

from pokeflow_sagemaker import aws
from pokeflow_sagemaker.serving import alarm, endpoint, model


def remove(region: str, name: str) -> dict[str, Any]:
    """Delete the endpoint and its own resources, and return their names; the bundle stays in the bucket."""
    sagemaker = aws.client("sagemaker", region)
    deleted = [f"endpoint {name}"] if endpoint.delete(region, name) else []
    base = name[: model.MAX_NAME_LENGTH - model.HASH_LENGTH - 1]
    rows = aws.pages(
        sagemaker, "list_endpoint_configs", "EndpointConfigs", f"configurations of {name}", NameContains=base
    )
    configurations = [row["EndpointConfigName"] for row in rows if _is_ours(row["EndpointConfigName"], base)]
    models: set[str] = set()
    for configuration in configurations:
        resource = f"endpoint configuration {configuration}"
        response = aws.ask(sagemaker.describe_endpoint_config, resource, EndpointConfigName=configuration)
        models |= {variant["ModelName"] for variant in response["ProductionVariants"]}
        deleted += _delete(resource, sagemaker.delete_endpoint_config, EndpointConfigName=configuration)
    for runs in sorted(models):
        deleted += _delete(f"model {runs}", sagemaker.delete_model, ModelName=runs)
    if alarm.remove(region, name):
        deleted.append(f"alarm {alarm.name_of(name)}")
    return {"endpoint": name, "deleted": ", ".join(deleted) or "nothing: it does not exist"}


def _is_ours(name: str, base: str) -> bool:
    """Return whether ``model.name_by_content`` built a name from ``base``."""
    return re.fullmatch(rf"{re.escape(base)}-[0-9a-f]{{{model.HASH_LENGTH}}}", name) is not None


def _delete(resource: str, call: Callable[..., Any], **parameters: str) -> list[str]:
    try:
        aws.ask(call, resource, **parameters)
    except aws.NotFoundError:
        return []
    return [resource]
