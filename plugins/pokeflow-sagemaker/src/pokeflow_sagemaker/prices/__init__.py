"""Prices of an hour of a machine: a dated table, and what the configuration says on top of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars an hour for one instance, and where that is from; ``usd`` None with the reason in ``source``."""

    usd: float | None
    source: str


def hourly(instance_type: str, region: str, own: Mapping[str, float]) -> Price:
    """The price of an instance type in a region: ``own``, by type, or else the table's."""
    if instance_type in own:
        return Price(own[instance_type], "the configuration")
    found = _table()
    prices = found["regions"].get(region)
    if prices is None:
        known = ", ".join(sorted(found["regions"]))
        return Price(None, f"no prices of {region or 'no region'} are known (of {known} they are); set params.prices")
    if instance_type not in prices:
        return Price(None, f"no price of {instance_type} is known; set params.prices.{instance_type}")
    return Price(float(prices[instance_type]), f"on-demand prices of {region} as of {found['as_of']}")


@cache
def _table() -> dict[str, Any]:
    import yaml

    text = resources.files("pokeflow_sagemaker.prices").joinpath("prices.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
