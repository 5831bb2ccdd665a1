"""Hourly prices: from the configuration, else from a dated table, else unknown with a reason."""

import datetime as dt

import pytest

from pokeflow_sagemaker import prices
from pokeflow_sagemaker.executor import bill
from pokeflow_sagemaker.executor.params import Account, JobParams


def test_price_names_its_source():
    table = prices.hourly("ml.g5.xlarge", "us-east-1", {})
    assert table.usd == 1.408
    assert table.source.startswith("on-demand prices of us-east-1 as of 20")
    dt.date.fromisoformat(table.source.rpartition(" ")[2])
    assert prices.hourly("ml.g5.xlarge", "us-east-1", {"ml.g5.xlarge": 1.0}) == prices.Price(1.0, "the configuration")
    assert prices.hourly("ml.x9.large", "mars-1", {"ml.x9.large": 0.0}).usd == 0.0


@pytest.mark.parametrize(
    ("kind", "region", "reason"),
    [
        ("ml.x9.large", "us-east-1", "set params.prices.ml.x9.large"),
        ("ml.m5.large", "mars-1", "no prices are known for mars-1"),
        ("ml.m5.large", "", "no prices are known for no region"),
    ],
)
def test_unknown_price_has_a_reason(kind, region, reason):
    price = prices.hourly(kind, region, {})
    assert price.usd is None
    assert reason in price.source


def test_the_cost_of_an_estimate_counts_every_machine():
    params = JobParams("ml.g5.xlarge", 2, account=Account(region="us-east-1"))
    assert bill.price(params, 1800) == pytest.approx(1.408)
    assert bill.price(JobParams("ml.x9.large", account=Account(region="us-east-1")), 1800) is None
