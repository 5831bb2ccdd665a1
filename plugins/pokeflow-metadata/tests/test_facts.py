"""Facts of records as one structure: typed, and each unknown one with its reason."""

from typing import Any

import pytest

from pokeflow_metadata.facts import ModelFacts, facts_of
from pokeflow_testkit.handmade import record


def test_facts_are_read_by_name_from_below_others_and_of_a_machine() -> None:
    given = {"parameters": 3, "runs": {"batch1": 5}, "calibration": {"samples": 4, "size_bytes": 10}, "threads": 1}
    facts = facts_of(record("train", "m", facts=given, environment={"instance_type": "ml.g5.xlarge", "device": "cpu"}))
    assert (facts.parameters, facts.runs, facts.threads) == (3, {"batch1": 5}, 1)
    assert (facts.calibration_samples, facts.calibration_bytes) == (4, 10)
    assert facts.instance_type == "ml.g5.xlarge"
    assert facts.device is None  # an environment tells of the machine alone


def test_a_fact_goes_before_the_machine() -> None:
    facts = facts_of(record("train", "m", facts={"image": "a"}, environment={"image": "b"}))
    assert facts.image == "a"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parameters", "many"),
        ("parameters", -1),
        ("threads", 0),
        ("threads", True),
        ("runs", {"a": "b"}),
        ("device", 3),
    ],
)
def test_what_a_fact_cannot_be_is_unknown_and_the_reason_names_it(name: str, value: Any) -> None:
    facts = facts_of(record("train", "m", facts={name: value}))
    assert getattr(facts, name) is None
    assert facts.reason_for(name) == f"facts.{name} of train:m is {value!r}, which is not a possible value"


def test_a_fact_that_is_null_has_the_reason_of_the_record() -> None:
    facts = facts_of(record("train", "m", facts={"device": None}, reasons={"device": "nobody looked"}))
    assert facts.reason_for("device") == "nobody looked"
    assert facts.reason_for("timing") == "no record tells it"


def test_a_record_without_facts_tells_nothing() -> None:
    assert facts_of(record("train", "m")) == ModelFacts()
