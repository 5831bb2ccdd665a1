"""Test that facts of records are typed and that each unknown one has a reason."""

from typing import Any

import pytest

from pokeflow_metadata.facts import ModelFacts, facts_of
from pokeflow_testkit.handmade import record


def test_facts_are_read_from_record_and_environment() -> None:
    recorded = {"parameters": 3, "runs": {"batch1": 5}, "calibration": {"samples": 4, "size_bytes": 10}, "threads": 1}
    facts = facts_of(
        record("train", "m", facts=recorded, environment={"instance_type": "ml.g5.xlarge", "device": "cpu"})
    )
    assert (facts.parameters, facts.runs, facts.threads) == (3, {"batch1": 5}, 1)
    assert (facts.calibration_samples, facts.calibration_bytes) == (4, 10)
    assert facts.instance_type == "ml.g5.xlarge"
    assert facts.device is None  # an environment describes only the machine


def test_fact_takes_precedence_over_the_environment() -> None:
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
def test_invalid_fact_is_unknown_with_its_reason(name: str, value: Any) -> None:
    facts = facts_of(record("train", "m", facts={name: value}))
    assert getattr(facts, name) is None
    assert facts.reason_for(name) == f"facts.{name} of train:m is {value!r}, which is not a possible value"


def test_null_fact_has_the_records_reason() -> None:
    facts = facts_of(record("train", "m", facts={"device": None}, reasons={"device": "nobody looked"}))
    assert facts.reason_for("device") == "nobody looked"
    assert facts.reason_for("timing") == "not recorded"


def test_record_without_facts_gives_empty_facts() -> None:
    assert facts_of(record("train", "m")) == ModelFacts()
