"""Check quality gates: which apply to a model, what a bound includes, and how unknown figures fail."""

import math
from typing import Any

import pytest

from pokeflow import gates
from pokeflow.gates import Gate, Verdict
from pokeflow.types import Record
from pokeflow_testkit.records import build_record


def producer_record(**metrics: float | None) -> Record:
    return build_record("distill:small", type="student", metrics=metrics)


def verdict(gate: Gate, value: float | None, **changes: Any) -> Verdict:
    record = build_record("benchmark:small", metrics={"accuracy": value}, **changes)
    return gates.evaluate({"accuracy": gate}, producer_record(), record)["accuracy"]


@pytest.mark.parametrize(
    ("gate", "value", "passed", "message"),
    [
        (Gate(min=0.9), 0.9, True, "0.9 is at least 0.9"),
        (Gate(min=0.9), 0.899, False, "0.899 is below 0.9"),
        (Gate(max=20), 20, True, "20 is at most 20"),
        (Gate(max=20), 20.1, False, "20.1 is above 20"),
        (Gate(min=1, max=1), 1, True, "1 is at least 1 and at most 1"),
        (Gate(min=0, max=0), 0, True, "0 is at least 0 and at most 0"),
        (Gate(min=0), -1e-9, False, "-1e-09 is below 0"),
        (Gate(max=0), 1e-9, False, "1e-09 is above 0"),
    ],
)
def test_a_value_on_its_bound_passes(gate: Gate, value: float, passed: bool, message: str) -> None:
    assert verdict(gate, value) == Verdict(passed, message)


def test_an_unknown_figure_fails_with_its_reason() -> None:
    assert verdict(Gate(min=0), None, reasons={"accuracy": "no labels"}) == Verdict(
        False, "unknown in benchmark: no labels"
    )
    assert verdict(Gate(min=0), None) == Verdict(False, "unknown in benchmark: no reason recorded")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_fails(value: float) -> None:
    assert verdict(Gate(min=-1, max=1), value) == Verdict(False, f"unknown in benchmark: it is {value}")


def test_unknown_figure_fails_and_names_the_nearest() -> None:
    outcome = gates.evaluate({"acuracy": Gate(min=0)}, producer_record(accuracy=1.0), None)["acuracy"]
    assert not outcome.passed
    assert outcome.message == "no figure 'acuracy'. Did you mean 'accuracy'? Known: accuracy."


def test_benchmark_figure_outranks_the_producing_task_s() -> None:
    benchmark = build_record("benchmark:small", metrics={"accuracy": 0.5})
    both = gates.evaluate(
        {"accuracy": Gate(min=0.9), "loss": Gate(max=1)}, producer_record(accuracy=1.0, loss=0.1), benchmark
    )
    assert {name: outcome.passed for name, outcome in both.items()} == {"accuracy": False, "loss": True}
    assert gates.evaluate({"accuracy": Gate(min=0.9)}, producer_record(accuracy=1.0), None)["accuracy"].passed


@pytest.mark.parametrize(
    ("names", "applies"),
    [
        ((), True),
        (("small",), True),
        (("student",), True),
        (("other", "student"), True),
        (("other",), False),
        (("teacher", "large"), False),
    ],
)
def test_a_gate_applies_to_the_models_and_types_that_it_names(names: tuple[str, ...], applies: bool) -> None:
    assert (
        list(gates.evaluate({"accuracy": Gate(min=0, applies_to=names)}, producer_record(accuracy=1.0), None))
        == ["accuracy"] * applies
    )


def test_all_gates_must_pass_and_none_is_no_approval() -> None:
    passed, failed = Verdict(True, "1 is at least 0"), Verdict(False, "0 is below 1")
    assert gates.all_passed({"a": passed, "b": passed}) is True
    assert gates.all_passed({"a": passed, "b": failed}) is False
    assert gates.all_passed({}) is None


def test_a_verdict_is_published_with_its_reason() -> None:
    assert str(Verdict(True, "1 is at least 0")) == "passed: 1 is at least 0"
    assert str(Verdict(False, "0 is below 1")) == "failed: 0 is below 1"


def test_gate_key_has_only_letters_digits_and_underscores() -> None:
    assert gates.key("top1.accuracy-é_2") == "top1_accuracy___2"


@pytest.mark.parametrize(
    ("name", "gate", "messages"),
    [
        ("accuracy", Gate(min=0, max=0), []),
        ("accuracy", Gate(min=0), []),
        ("a" * 200, Gate(max=0), []),
        ("a" * 201, Gate(max=0), ["is not a figure"]),
        ("", Gate(max=0), ["is not a figure"]),
        ("a b", Gate(max=0), ["is not a figure"]),
        ("accuracy", Gate(), ["has no bound"]),
        ("accuracy", Gate(min=math.nan), ["a bound must be a finite number"]),
        ("accuracy", Gate(min=0, max=math.inf), ["a bound must be a finite number"]),
        ("accuracy", Gate(min=1, max=0), ["min 1 is above max 0: no value can pass"]),
        ("a b", Gate(), ["is not a figure", "has no bound"]),
    ],
)
def test_a_gate_that_nothing_can_pass_or_fail_is_a_fault(name: str, gate: Gate, messages: list[str]) -> None:
    faults = list(gates.faults({"fine": Gate(max=1), name: gate}))
    assert [path for path, _ in faults] == [name] * len(messages)
    assert all(message in text for message, (_, text) in zip(messages, faults, strict=True))
