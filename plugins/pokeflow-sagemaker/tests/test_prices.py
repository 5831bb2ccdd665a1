"""What an hour costs: the configuration's word, or a dated table's, or unknown with the reason."""

import datetime as dt

import pytest

from pokeflow_sagemaker import prices
from pokeflow_sagemaker.executor import bill
from pokeflow_sagemaker.executor.params import Account, JobParams


def test_a_price_says_where_it_is_from():
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
        ("ml.m5.large", "mars-1", "no prices of mars-1"),
        ("ml.m5.large", "", "no prices of no region"),
    ],
)
def test_what_is_not_known_has_no_price_and_a_reason(kind, region, reason):
    price = prices.hourly(kind, region, {})
    assert price.usd is None
    assert reason in price.source


def test_the_cost_of_an_estimate_counts_every_machine():
    params = JobParams("ml.g5.xlarge", 2, account=Account(region="us-east-1"))
    assert bill.price(params, 1800) == pytest.approx(1.408)
    assert bill.price(JobParams("ml.x9.large", account=Account(region="us-east-1")), 1800) is None
