"""Stage profile: what ONNX Runtime tells of each operator."""

import json

import pytest

from pokeflow_vision.profiling import ProfileParams


@pytest.fixture
def profiled(flow, backends):
    made = flow.compile()
    backends["compile"](made)
    task = flow.task("profile", ProfileParams(runs=6, warmup=2), flow.done(made), flow.prepared())
    return task, backends["profile"](task)


def test_each_operator_of_the_compiled_network_is_told_with_its_source(profiled):
    task, result = profiled
    told = json.loads((task.output / "profiling_results.json").read_text())
    assert {"QuantizeLinear", "QLinearConv"} <= {operator["type"] for operator in told["operators"]}
    assert {operator["kernel"] for operator in told["operators"]} == {"CPUExecutionProvider"}
    assert sum(operator["ms"] for operator in told["operators"]) == pytest.approx(result.metrics["operators_ms"])
    assert told["figures"]["operators_ms"]["source"].startswith("the profiler of ONNX Runtime, on this machine's CPU")
    assert result.metrics["operators"] == len(told["operators"])
    assert result.facts["framework"].startswith("ONNX Runtime 1.")


def test_the_trace_is_gone_afterwards(profiled):
    task, _ = profiled
    assert list(task.work.iterdir()) == []
    assert [file.name for file in task.output.iterdir()] == ["profiling_results.json"]
