"""Test the comparisons of benchmarks with manually computed values, and the reasons for missing ones."""

from dataclasses import replace
from typing import Any

import pytest

from pokeflow.project import Receipt
from pokeflow_metadata import benchmarks

from .documents_support import (
    BENCHMARKS,
    LOCAL,
    PRODUCERS,
    RECEIPTS,
    STAGE1,
    STAGE2,
    TEACHER,
    TINY,
    VERSIONS,
    benchmark,
    faults_of,
    receipt,
)

TRAIN, DISTILL1, DISTILL2, _ = PRODUCERS


def versions(*receipts: Receipt) -> dict[str, Any]:
    document = benchmarks.document(LOCAL, receipts)
    assert faults_of(document, "performance_benchmarks") == []
    return {f"{model}:{version}": entry for model, of in document["models"].items() for version, entry in of.items()}


def against_teacher(**facts: Any) -> dict[str, Any]:
    """Return the comparison with the teacher of stage 1, whose benchmark has these facts."""
    other = benchmark(DISTILL1, 12, 0.5, 5.0, 200.0)
    mine = replace(other, facts={**other.facts, **facts})
    comparison: dict[str, Any] = versions(VERSIONS[0], receipt(DISTILL1, mine))[f"{STAGE1}:v1.0"]["comparisons"][
        "teacher"
    ]
    return comparison


def test_version_has_its_benchmark_with_conditions_and_reasons() -> None:
    entry = versions(*RECEIPTS)[f"{TEACHER}:v1.0"]["benchmarks"][0]
    assert entry["metrics"]["latency_p50_ms"] == 20.0
    assert entry["metrics"]["reasons"] == {
        "latency_p99_ms": "20 runs were made; 100 or more are needed for this percentile"
    }
    assert (entry["device"], entry["threads"], entry["runtime"]) == ("AMD EPYC", 1, "ONNX Runtime 1.32.0")
    assert entry["reasons"]["timing"] == "not recorded"
    assert entry["protocol"].startswith("12 query views")


def test_comparisons_match_values_computed_manually() -> None:
    entries = versions(*RECEIPTS)
    # stage 2: 4 ms of stage 1's 5 and the teacher's 20; 200 MB of 200 and 1,100; 0.625 against 0.5 and 0.75
    stage2 = entries[f"{STAGE2}:v2.0"]["comparisons"]
    assert stage2["parent"] == {
        "against": f"{STAGE1}:v1.0", "latency_ratio": 0.8, "size_ratio": 1.0, "accuracy_gap": -0.125, "reasons": {}
    }  # fmt: skip
    assert stage2["teacher"] == {
        "against": f"{TEACHER}:v1.0", "latency_ratio": 0.2, "size_ratio": 0.181818, "accuracy_gap": 0.125, "reasons": {}
    }  # fmt: skip
    # compiled: 1 ms of 4 and 20; 14.52 MB of 200 and 1,100; its teacher is an ancestor
    tiny = entries[f"{TINY}:v2.1"]["comparisons"]
    assert (tiny["parent"]["latency_ratio"], tiny["parent"]["size_ratio"]) == (0.25, 0.0726)
    assert (tiny["teacher"]["latency_ratio"], tiny["teacher"]["size_ratio"]) == (0.05, 0.0132)
    assert tiny["teacher"]["accuracy_gap"] == 0.15


def test_teacher_has_no_comparisons() -> None:
    comparisons = versions(*RECEIPTS)[f"{TEACHER}:v1.0"]["comparisons"]
    assert comparisons["parent"]["reasons"]["latency_ratio"] == "it has no parent"
    assert comparisons["teacher"]["reasons"]["accuracy_gap"] == "it descends from no teacher"


@pytest.mark.parametrize(
    ("facts", "unknown", "why"),
    [
        ({"device": "Hailo-8L"}, "latency_ratio", "device 'Hailo-8L' here, 'AMD EPYC' there"),
        ({"threads": 4}, "latency_ratio", "threads 4 here, 1 there"),
        ({"protocol": "easier"}, "accuracy_gap", "different conditions: protocol 'easier' here"),
    ],
)
def test_different_conditions_are_not_compared(facts: dict[str, Any], unknown: str, why: str) -> None:
    comparison = against_teacher(**facts)
    assert comparison[unknown] is None
    assert why in comparison["reasons"][unknown]
    assert comparison["size_ratio"] == 0.181818


def test_accuracies_on_different_data_sets_are_not_compared() -> None:
    measured = replace(BENCHMARKS[1], inputs={**BENCHMARKS[1].inputs, "prepare:data": "another"})
    comparison = versions(VERSIONS[0], receipt(DISTILL1, measured))[f"{STAGE1}:v1.0"]["comparisons"]["teacher"]
    assert comparison["reasons"]["accuracy_gap"] == "measured on two different data sets"


@pytest.mark.parametrize(
    ("metrics", "unknown", "why"),
    [
        ({"latency_p50_ms": None}, "latency_ratio", f"benchmark:{STAGE1}: latency_p50_ms: no clock"),
        ({"latency_p50_ms": -1.0}, "latency_ratio", "no ratio"),
        ({"top1_accuracy": 93.0}, "accuracy_gap", "not fractions of 1"),
    ],
)
def test_invalid_metrics_give_no_comparison(metrics: dict[str, Any], unknown: str, why: str) -> None:
    measured = BENCHMARKS[1]
    measured = replace(
        measured, metrics={**measured.metrics, **metrics}, reasons={**measured.reasons, "latency_p50_ms": "no clock"}
    )
    comparison = versions(VERSIONS[0], receipt(DISTILL1, measured))[f"{STAGE1}:v1.0"]["comparisons"]["teacher"]
    assert comparison[unknown] is None
    assert why in comparison["reasons"][unknown]


def test_version_without_benchmark_is_reported_as_such() -> None:
    entries = versions(receipt(TRAIN), VERSIONS[1])
    assert entries[f"{TEACHER}:v1.0"]["benchmarks"] == []
    assert entries[f"{STAGE1}:v1.0"]["comparisons"]["teacher"]["reasons"]["size_ratio"] == (
        f"{TEACHER}:v1.0 is not benchmarked"
    )


def test_replaced_parent_is_not_compared() -> None:
    comparison = versions(replace(VERSIONS[0], content="another"), VERSIONS[1])[f"{STAGE1}:v1.0"]["comparisons"][
        "teacher"
    ]
    assert comparison["against"] is None
    assert "is published with another content" in comparison["reasons"]["against"]
    assert versions(VERSIONS[1])[f"{STAGE1}:v1.0"]["comparisons"]["parent"]["reasons"]["against"] == (
        f"{TEACHER}:v1.0 is not published"
    )


def test_cycle_of_parents_terminates() -> None:
    first = replace(VERSIONS[1], parents=(f"{STAGE2}:v2.0",), records=(replace(DISTILL1, inputs={}),))
    second = replace(VERSIONS[2], parents=(f"{STAGE1}:v1.0",), records=(replace(DISTILL2, inputs={}),))
    assert set(versions(first, second)) == {f"{STAGE1}:v1.0", f"{STAGE2}:v2.0"}
