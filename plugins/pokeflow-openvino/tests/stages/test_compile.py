"""Stage compile: static INT8, calibrated on captures, compared with its parent."""

import json
import os
import re
import subprocess
import sys

import onnx
import pytest

from pokeflow import PokeflowError
from pokeflow_openvino import network
from pokeflow_openvino.stages import compile
from pokeflow_vision import index
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data


def test_weighted_layers_are_int8_and_size_is_reported(compiled_model):
    model = network.read(compiled_model.folder / "model.xml")
    kinds = [op.get_type_name() for op in model.get_ops()]
    weights = [
        op for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_element_type().to_string() == "i8"
    ]
    assert len(weights) == sum(kind in compile.WEIGHTED for kind in kinds) == 3
    size = sum((compiled_model.folder / name).stat().st_size for name in ("model.xml", "model.bin")) / 1e6
    assert compiled_model.record.metrics["size_mb"] == size


def test_weights_take_about_one_byte(compiled_model):
    floats = compiled_model.record.metrics["fp32_size_mb"]
    assert (compiled_model.folder / "model.bin").stat().st_size / 1e6 < floats / 3


def test_metrics_compare_with_the_parent_on_the_same_queries(compiled_model):
    metrics, facts = compiled_model.record.metrics, compiled_model.record.facts
    assert metrics["top1_accuracy_fp32"] > 0.9
    assert metrics["accuracy_drop"] == metrics["top1_accuracy_fp32"] - metrics["top1_accuracy"]
    assert 0.98 < metrics["cosine_to_parent_min"] <= metrics["cosine_to_parent"] < 0.999999
    assert facts["protocol"].startswith("24 query views")
    assert facts["parameters"] == 3096
    assert facts["framework"].startswith("OpenVINO 20")
    assert facts["compiler"].startswith("NNCF 3")


def test_compiled_folder_has_the_files_of_every_target(compiled_model):
    assert {file.name for file in compiled_model.folder.iterdir()} == {
        *("model.xml", "model.bin", "preprocessing.json", "index.npz", "compilation_report.json"),
        *("calibration_config.json", "calibration_dataset.npy"),
    }
    config = json.loads((compiled_model.folder / "calibration_config.json").read_text())
    assert config["preset"] == "performance"
    assert config["network_input"]["to"] == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
    report = json.loads((compiled_model.folder / "compilation_report.json").read_text())
    assert report["operators"]["FakeQuantize"] >= 3
    assert len(index.read(compiled_model.folder).card_ids) == len(data.draw_dataset().cards)


@pytest.mark.slow
@pytest.mark.parametrize("params", [{"preset": "mixed"}, {"bias_correction": "accurate"}])
def test_settings_give_different_networks_that_agree(flow, backends, compiled_model, params):
    task = flow.compile(**params)
    result = backends["compile"](task)
    assert result.metrics["cosine_to_parent"] > 0.98
    assert all(value in result.facts["quantization"] for value in params.values())
    assert (task.output / "model.bin").read_bytes() != (compiled_model.folder / "model.bin").read_bytes()


def test_saved_model_has_no_paths_or_running_numbers(compiled_model):
    names = [op.get_friendly_name() for op in network.read(compiled_model.folder / "model.xml").get_ops()]
    assert not [name for name in names if re.search(r"_\d{3,}", name)]
    text = (compiled_model.folder / "model.xml").read_text()
    assert str(compiled_model.folder.parent) not in text
    assert "DIR/model.onnx" in text


def test_benchmark_uses_the_compiled_model(flow, backends, compiled_model):
    result = backends["benchmark"](flow.benchmark(compiled_model))
    assert result.metrics["size_mb"] == compiled_model.record.metrics["size_mb"]
    assert result.metrics["top1_accuracy"] > 0.9
    assert result.facts["framework"].startswith("OpenVINO 20")


@pytest.mark.parametrize("split", ["val", "calibration"])
def test_data_without_required_queries_is_refused(flow, backends, split):
    task = flow.compile(flow.student(), flow.prepared(lambda kept: kept != split))
    with pytest.raises(PokeflowError, match=rf"{split} (queries|captures)"):
        backends["compile"](task)


def test_parent_with_other_preprocessing_is_refused(flow, backends):
    parent = flow.student(spec=Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"distill:small: preprocessing .* differs"):
        backends["compile"](flow.compile(parent, flow.prepared()))


def test_unsuitable_networks_are_refused_with_the_reason(spoilt, tmp_path):
    for sentence, model in spoilt.items():
        onnx.save(model, tmp_path / "model.onnx")
        with pytest.raises(PokeflowError, match=sentence):
            compile.require_quantizable(tmp_path / "model.onnx")


def test_compiled_network_is_not_compiled_again(compiled_model):
    with pytest.raises(PokeflowError, match="already quantized"):
        compile.require_quantizable(compiled_model.folder / "model.xml")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x3a\xff\xff\xff", bytes(range(256)) * 9])
def test_file_that_is_no_network_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(PokeflowError, match="not a network"):
        compile.require_quantizable(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            "echo reading >&2; echo 'ValueError: no such layer' >&2; exit 3",
            r"cannot quantize it \(ValueError: no such layer\)",
        ),
        ("exit 3", r"cannot quantize it \(exit code 3\)"),
        ("kill -9 $$", "signal 9 ended NNCF"),
    ],
)
def test_failed_quantizer_is_reported(flow, monkeypatch, tmp_path, program, sentence):
    file = tmp_path / "python"
    file.write_text(f"#!/bin/sh\n{program}\n")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    task = flow.compile()
    with pytest.raises(PokeflowError, match=sentence):
        compile.quantize(tmp_path / "model.onnx", task.output, 1, task.params, task.work)
    assert list(task.work.iterdir()) == []


def test_quantizer_ends_when_its_caller_is_interrupted(flow, monkeypatch, tmp_path):
    file = tmp_path / "python"
    file.write_text("#!/bin/sh\necho 0\nexec sleep 600\n")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    class Bar:
        def __enter__(self):
            return interrupted

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(compile.progress, "bar", lambda *_: Bar())
    task = flow.compile()
    with pytest.raises(KeyboardInterrupt):  # at once, not after ten minutes
        compile.quantize(tmp_path / "model.onnx", task.output, 1, task.params, task.work)


WATCHED = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}
SPY = f"""
import os, sys
def write_log(text):
    with open(os.environ["SPY_LOG"], "a") as out:
        out.write(text + "\\n")
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "openvino_telemetry"):
            write_log(f"import {{name}}")
sys.addaudithook(lambda event, args: write_log(f"{{event}} {{args}}") if event in {WATCHED} else None)
sys.meta_path.insert(0, Finder())
write_log("watching")
"""
SCRIPT = """
import logging, sys
from pathlib import Path
from pokeflow_openvino import network
from pokeflow_openvino.params import CompileParams
from pokeflow_openvino.stages import compile
from pokeflow_vision import preprocessing
source, folder = map(Path, sys.argv[1:])
before = logging.getLoggerClass()
compile.quantize(source, folder, 48, CompileParams(), folder)
network.open_network(folder, preprocessing.read(folder), 1)
print([name for name in ("nncf", "torch", "onnx") if name in sys.modules], logging.getLoggerClass() is before)
"""


@pytest.mark.slow
def test_compile_sends_no_telemetry_and_prints_nothing(compiled_model, flow, tmp_path):
    """Watch both processes: that of the task and that of NNCF."""
    home, log, folder = tmp_path / "home", tmp_path / "log", tmp_path / "compiled"
    home.mkdir()
    folder.mkdir()
    (tmp_path / "sitecustomize.py").write_text(SPY)
    for name in ("calibration_dataset.npy", "preprocessing.json"):
        (folder / name).write_bytes((compiled_model.folder / name).read_bytes())
    path = os.pathsep.join([str(tmp_path), *sys.path])
    # Only variables that select kernels and threads are passed on, so that the bytes are the same.
    environment = {name: value for name, value in os.environ.items() if name.startswith(("ONEDNN_", "OMP_"))}
    environment |= {"HOME": str(home), "SPY_LOG": str(log), "PYTHONPATH": path, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", SCRIPT, str(flow.student().folder / "model.onnx"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] True\n", "")
    assert log.read_text().splitlines() == ["watching", "watching"]
    assert list(home.iterdir()) == []
    assert (folder / "model.xml").read_bytes() == (compiled_model.folder / "model.xml").read_bytes()
    assert (folder / "model.bin").read_bytes() == (compiled_model.folder / "model.bin").read_bytes()
