"""Test stage profile: the operators that ONNX Runtime reports."""

import json

import pytest

from pokeflow_vision.profiling import ProfileParams


@pytest.fixture
def profiled(flow, backends):
    compilation = flow.compile()
    backends["compile"](compilation)
    task = flow.task("profile", ProfileParams(runs=6, warmup=2), flow.done(compilation), flow.prepared())
    return task, backends["profile"](task)


def test_profile_lists_each_operator_with_its_source(profiled):
    task, result = profiled
    document = json.loads((task.output / "profiling_results.json").read_text())
    assert {"QuantizeLinear", "QLinearConv"} <= {operator["type"] for operator in document["operators"]}
    assert {operator["kernel"] for operator in document["operators"]} == {"CPUExecutionProvider"}
    assert sum(operator["ms"] for operator in document["operators"]) == pytest.approx(result.metrics["operators_ms"])
    assert document["figures"]["operators_ms"]["source"].startswith(
        "the profiler of ONNX Runtime, on this machine's CPU"
    )
    assert result.metrics["operators"] == len(document["operators"])
    assert result.facts["framework"].startswith("ONNX Runtime 1.")


def test_trace_is_deleted_afterwards(profiled):
    task, _ = profiled
    assert list(task.work.iterdir()) == []
    assert [file.name for file in task.output.iterdir()] == ["profiling_results.json"]
