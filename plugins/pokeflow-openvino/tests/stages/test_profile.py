"""Test stage profile: the operators that OpenVINO reports."""

import json
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from pokeflow_openvino import network
from pokeflow_openvino.stages import profile
from pokeflow_vision.profiling import ProfileParams
from pokeflow_vision.testing import data


def running(folder):
    """Return the operators of a compiled network as OpenVINO runs them on this machine."""
    return network.compile_model(folder / network.FILE, data.SPEC, 1).get_runtime_model().get_ops()


def test_profile_lists_each_operator_with_kernel_and_source(flow, backends, compiled_model):
    task = flow.profile(compiled_model)
    result = backends["profile"](task)
    document = json.loads((task.output / "profiling_results.json").read_text())
    assert {figure["unit"] for figure in document["figures"].values()} == {"ms", "operators"}
    assert all("get_profiling_info of OpenVINO" in figure["source"] for figure in document["figures"].values())
    assert result.metrics["operators_ms"] == pytest.approx(sum(o["ms"] for o in document["operators"]))
    assert result.metrics["operators"] == len(document["operators"])
    # A kernel's name depends on the processor; the runtime model states it and its precision too.
    chosen = {op.get_friendly_name(): op.get_rt_info() for op in running(compiled_model.folder)}
    kernels = {o["name"]: o["kernel"] for o in document["operators"] if o["type"] == "Convolution"}
    assert len(kernels) == 2
    assert kernels == {name: chosen[name]["primitiveType"].astype(str) for name in kernels}
    assert {chosen[name]["runtimePrecision"].astype(str) for name in kernels} <= {"i8", "u8"}


def test_warm_up_is_subtracted_from_the_means(monkeypatch, tmp_path):
    """Two runs take 5 µs and four 2 µs: OpenVINO reports a mean of 5 after the warm-up and 3 at the end."""
    means = iter([5, 3])

    class Request:
        def infer(self, images):
            pass

        def get_profiling_info(self):
            mean = next(means)
            ran = SimpleNamespace(node_name="conv", node_type="Convolution", exec_type="jit_I8")
            fused = SimpleNamespace(node_name="relu", node_type="Relu", exec_type="undef")
            ran.real_time, fused.real_time = timedelta(microseconds=mean), timedelta()
            return [ran, fused]

    compiled = SimpleNamespace(create_infer_request=Request)
    monkeypatch.setattr(profile, "compile_model", lambda *arguments, **settings: compiled)
    pictures = [np.zeros((1, 32, 32, 3), np.uint8)] * 6
    (operator,) = profile.watch(tmp_path, data.SPEC, ProfileParams(runs=4, warmup=2), pictures, tmp_path)
    assert (operator.name, operator.type, operator.kernel) == ("conv", "Convolution", "jit_I8")
    assert operator.milliseconds == pytest.approx(0.002)
