import json
from dataclasses import asdict, replace

import pytest

from pokeflow_torch.profiling import clock, rules
from pokeflow_torch.profiling.tensors import TensorStatistics

PARTS = {"load_ms": 1.0, "augment_ms": 4.0, "forward_ms": 30.0, "backward_ms": 50.0, "optimizer_ms": 10.0}
STEP = {**PARTS, "average_ms": 4.0, "other_ms": 1.0, "step_ms": 100.0, "gradient_norm": 3.0}


def gradient(**values):
    return {"weight": "w", "shape": "4×3", "to_weight": 0.1, "not_finite": 0, **values}


def layer(**values):
    return {"layer": "act", "dead_channels": 0, "channels": 10, "not_finite": 0, **values}


@pytest.fixture
def sound():
    """Return the evidence of a training without faults."""
    seen = TensorStatistics([{"weight": "w", "not_finite": 0}], [gradient()], [layer()])
    samples = [{"process_memory_megabytes": 1000.0}] * 9
    history = [{"train_loss": 5.0}, {"train_loss": 2.0}]
    return rules.Evidence([STEP] * 10, samples, seen, history, "cpu", 90.0, 1000.0, 8000.0, 1.0)


def status(evidence):
    return {finding.rule: finding.status for finding in rules.judge(evidence)}


def test_healthy_training_breaks_no_rule(sound):
    assert set(status(sound).values()) == {"ok"}
    assert len(status(sound)) == len(rules.RULES)


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ("loader-bound", {"steps": [{**STEP, "augment_ms": 40.0}] * 10}),
        ("low-utilization", {"utilization": 20.0}),
        ("memory-near-limit", {"peak_mb": 7900.0}),
        ("memory-growth", {"samples": [{"process_memory_megabytes": 1000.0 + 50 * i} for i in range(9)]}),
        ("step-outliers", {"steps": [STEP] * 8 + [{**STEP, "step_ms": 500.0}] * 2}),
        ("exploding-gradients", {"steps": [STEP] * 9 + [{**STEP, "gradient_norm": 500.0}]}),
        ("exploding-gradients", {"steps": [STEP] * 9 + [{**STEP, "gradient_norm": float("inf")}]}),
        ("vanishing-gradients", {"statistics": TensorStatistics([], [gradient(to_weight=1e-9)], [layer()])}),
        ("dead-units", {"statistics": TensorStatistics([], [gradient()], [layer(dead_channels=5)])}),
        ("not-finite", {"statistics": TensorStatistics([], [gradient(not_finite=1)], [layer()])}),
        ("loss-not-decreasing", {"history": [{"train_loss": 5.0}, {"train_loss": 5.1}]}),
    ],
)
def test_each_fault_triggers_only_its_rule_with_evidence(sound, rule, changed):
    evidence = replace(sound, **changed)
    findings = [finding for finding in rules.judge(evidence) if finding.status == "found"]
    assert [finding.rule for finding in findings] == [rule]
    assert findings[0].advice
    assert findings[0].evidence
    json.dumps([asdict(finding) for finding in findings], allow_nan=False)


@pytest.mark.parametrize(
    ("rule", "changed", "expected"),
    [
        ("low-utilization", {"utilization": None}, "unknown"),
        ("memory-near-limit", {"peak_mb": None}, "unknown"),
        ("memory-growth", {"samples": []}, "unknown"),
        ("loss-not-decreasing", {"history": []}, "unknown"),
        ("vanishing-gradients", {"own_loss": False}, "unknown"),
        ("exploding-gradients", {"own_loss": False}, "unknown"),
        ("vanishing-gradients", {"statistics": TensorStatistics([], [gradient(to_weight=None)], [layer()])}, "unknown"),
        (
            "dead-units",
            {"statistics": TensorStatistics([], [gradient()], [layer(dead_channels=None)])},
            "not_applicable",
        ),
    ],
)
def test_missing_evidence_is_reported_as_unknown(sound, rule, changed, expected):
    assert status(replace(sound, **changed))[rule] == expected


def test_shares_are_weighted_by_step_time():
    shares = clock.shares([STEP, {**STEP, "step_ms": 200.0, "forward_ms": 130.0}])
    assert shares["forward"] == pytest.approx(160 / 300)
    assert clock.median_ms([STEP, {**STEP, "step_ms": 300.0}]) == 200.0
