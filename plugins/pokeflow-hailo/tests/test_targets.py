"""Each stage accepts the output of the one before it: compile, profile and benchmark, with both doubles."""

import dataclasses
import hashlib
import json

import pytest

from pokeflow import Input
from pokeflow_hailo.stages import benchmark, compile, profile
from pokeflow_vision.testing import network

from .compile_flow import Flow, record, wrapper


@pytest.mark.slow
def test_a_compiled_model_is_profiled_and_measured(chip_flow, tmp_path):
    compiler = Flow(tmp_path, wrapper(tmp_path))
    task = compiler.task()
    compiled = compile.run(task)
    (file,) = task.output.glob("*.hef")
    played = tmp_path / "played"
    played.mkdir()
    network.write(played)
    networks = {hashlib.sha256(file.read_bytes()).hexdigest(): str(played / "model.onnx")}
    (tmp_path / "networks.json").write_text(json.dumps(networks))
    compile_record = record("compile", "optimized", **compiled.facts)
    model = Input(dataclasses.replace(compile_record, params={"hw_arch": "hailo8l"}), task.output)

    measured = benchmark.run(chip_flow.benchmark(model, task.inputs[1]))
    assert measured.metrics["size_mb"] == file.stat().st_size / 1e6
    assert measured.metrics["top1_accuracy"] == 1
    profile_task = chip_flow.profile(model, task.inputs[1], device="local")
    profiled = profile.run(profile_task)
    report = json.loads((profile_task.output / "profiling_results.json").read_text())
    assert report["hef"]["architecture"]["value"] == "hailo8l"
    assert {figure["source"] for figure in report["compiler"].values()} == {"dfc_estimate"}
    for result in (compiled, measured, profiled):
        assert result.facts["simulated"] is True
