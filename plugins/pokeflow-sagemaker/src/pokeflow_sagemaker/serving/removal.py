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
    base = name[: model.LONGEST - model.HASH - 1]
    listed = aws.pages(
        sagemaker, "list_endpoint_configs", "EndpointConfigs", f"configurations of {name}", NameContains=base
    )
    configurations = [row["EndpointConfigName"] for row in listed if _mine(row["EndpointConfigName"], base)]
    models: set[str] = set()
    for configuration in configurations:
        what = f"endpoint configuration {configuration}"
        found = aws.ask(sagemaker.describe_endpoint_config, what, EndpointConfigName=configuration)
        models |= {variant["ModelName"] for variant in found["ProductionVariants"]}
        deleted += _gone(what, sagemaker.delete_endpoint_config, EndpointConfigName=configuration)
    for runs in sorted(models):
        deleted += _gone(f"model {runs}", sagemaker.delete_model, ModelName=runs)
    if alarm.remove(region, name):
        deleted.append(f"alarm {alarm.name_of(name)}")
    return {"endpoint": name, "deleted": ", ".join(deleted) or "nothing: there was none"}


def _mine(found: str, base: str) -> bool:
    """Return whether ``model.name_by_content`` built a name from ``base``."""
    return re.fullmatch(rf"{re.escape(base)}-[0-9a-f]{{{model.HASH}}}", found) is not None


def _gone(what: str, call: Callable[..., Any], **named: str) -> list[str]:
    try:
        aws.ask(call, what, **named)
    except aws.NotFoundError:
        return []
    return [what]
