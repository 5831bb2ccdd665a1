"""Hourly prices of instance types: a dated table, which the configuration can override."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Price:
    """Price of one instance in US dollars per hour and its source; ``usd`` is None if unknown, with the reason."""

    usd: float | None
    source: str


def hourly(instance_type: str, region: str, overrides: Mapping[str, float]) -> Price:
    """Return the price of an instance type in a region: from ``overrides``, by type, or else from the table."""
    if instance_type in overrides:
        return Price(overrides[instance_type], "the configuration")
    table = _table()
    prices = table["regions"].get(region)
    if prices is None:
        regions = ", ".join(sorted(table["regions"]))
        return Price(None, f"no prices are known for {region or 'no region'} (known: {regions}); set params.prices")
    if instance_type not in prices:
        return Price(None, f"no price is known for {instance_type}; set params.prices.{instance_type}")
    return Price(float(prices[instance_type]), f"on-demand prices of {region} as of {table['as_of']}")


@cache
def _table() -> dict[str, Any]:
    import yaml

    text = resources.files("pokeflow_sagemaker.prices").joinpath("prices.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
