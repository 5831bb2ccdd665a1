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


def test_every_layer_with_weights_is_int8_and_the_model_is_smaller(made):
    model = network.read(made.folder / "model.xml")
    kinds = [op.get_type_name() for op in model.get_ops()]
    weights = [
        op for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_element_type().to_string() == "i8"
    ]
    assert len(weights) == sum(kind in compile.WEIGHTED for kind in kinds) == 3
    size = sum((made.folder / name).stat().st_size for name in ("model.xml", "model.bin")) / 1e6
    assert made.record.metrics["size_mb"] == size


def test_a_weight_takes_a_byte(made):
    floats = made.record.metrics["fp32_size_mb"]
    assert (made.folder / "model.bin").stat().st_size / 1e6 < floats / 3


def test_figures_compare_with_the_parent_on_the_same_queries(made):
    metrics, facts = made.record.metrics, made.record.facts
    assert metrics["top1_accuracy_fp32"] > 0.9
    assert metrics["accuracy_drop"] == metrics["top1_accuracy_fp32"] - metrics["top1_accuracy"]
    assert 0.98 < metrics["cosine_to_parent_min"] <= metrics["cosine_to_parent"] < 0.999999
    assert facts["protocol"].startswith("24 query views")
    assert facts["parameters"] == 3096
    assert facts["framework"].startswith("OpenVINO 20")
    assert facts["compiler"].startswith("NNCF 3")


def test_its_folder_holds_what_every_compiled_model_holds(made):
    assert {file.name for file in made.folder.iterdir()} == {
        *("model.xml", "model.bin", "preprocessing.json", "index.npz", "compilation_report.json"),
        *("calibration_config.json", "calibration_dataset.npy"),
    }
    config = json.loads((made.folder / "calibration_config.json").read_text())
    assert config["preset"] == "performance"
    assert config["network_input"]["to"] == pytest.approx(
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    )
    report = json.loads((made.folder / "compilation_report.json").read_text())
    assert report["operators"]["FakeQuantize"] >= 3
    assert len(index.read(made.folder).card_ids) == len(data.draw_dataset().cards)


@pytest.mark.parametrize("params", [{"preset": "mixed"}, {"bias_correction": "accurate"}])
def test_every_setting_gives_another_network_that_agrees(flow, backends, made, params):
    task = flow.compile(**params)
    result = backends["compile"](task)
    assert result.metrics["cosine_to_parent"] > 0.98
    assert all(value in result.facts["quantization"] for value in params.values())
    assert (task.output / "model.bin").read_bytes() != (made.folder / "model.bin").read_bytes()


def test_what_was_saved_names_no_place_and_numbers_nothing_by_what_was_made_before(made):
    names = [op.get_friendly_name() for op in network.read(made.folder / "model.xml").get_ops()]
    assert not [name for name in names if re.search(r"_\d{3,}", name)]
    text = (made.folder / "model.xml").read_text()
    assert str(made.folder.parent) not in text
    assert "DIR/model.onnx" in text


def test_the_compiled_model_is_what_is_benchmarked(flow, backends, made):
    result = backends["benchmark"](flow.benchmark(made))
    assert result.metrics["size_mb"] == made.record.metrics["size_mb"]
    assert result.metrics["top1_accuracy"] > 0.9
    assert result.facts["framework"].startswith("OpenVINO 20")


@pytest.mark.parametrize("split", ["val", "calibration"])
def test_no_queries_are_refused(flow, backends, split):
    task = flow.compile(flow.student(), flow.prepared(lambda kept: kept != split))
    with pytest.raises(PokeflowError, match=rf"{split} (queries|captures)"):
        backends["compile"](task)


def test_a_parent_with_other_preprocessing_is_refused(flow, backends):
    parent = flow.student(spec=Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"distill:small: preprocessing .* differs"):
        backends["compile"](flow.compile(parent, flow.prepared()))


def test_networks_that_must_not_be_compiled_are_refused_by_what_is_wrong(spoilt, tmp_path):
    for sentence, model in spoilt.items():
        onnx.save(model, tmp_path / "model.onnx")
        with pytest.raises(PokeflowError, match=sentence):
            compile.require_quantizable(tmp_path / "model.onnx")


def test_a_compiled_network_is_not_compiled_again(made):
    with pytest.raises(PokeflowError, match="already quantised"):
        compile.require_quantizable(made.folder / "model.xml")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x3a\xff\xff\xff", bytes(range(256)) * 9])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(PokeflowError, match="not a network"):
        compile.require_quantizable(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            "echo reading >&2; echo 'ValueError: no such layer' >&2; exit 3",
            r"cannot quantise it \(ValueError: no such layer\)",
        ),
        ("exit 3", r"cannot quantise it \(exit code 3\)"),
        ("kill -9 $$", "signal 9 ended NNCF"),
    ],
)
def test_a_quantiser_that_ends_badly_is_told(flow, monkeypatch, tmp_path, program, sentence):
    file = tmp_path / "python"
    file.write_text(f"#!/bin/sh\n{program}\n")
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    task = flow.compile()
    with pytest.raises(PokeflowError, match=sentence):
        compile.quantize(tmp_path / "model.onnx", task.output, 1, task.params, task.work)
    assert list(task.work.iterdir()) == []


def test_a_quantiser_ends_with_whoever_waits_for_it(flow, monkeypatch, tmp_path):
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
    with pytest.raises(KeyboardInterrupt):  # and not ten minutes later
        compile.quantize(tmp_path / "model.onnx", task.output, 1, task.params, task.work)


WATCHED = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"}
SPY = f"""
import os, sys
def tell(text):
    with open(os.environ["TOLD"], "a") as out:
        out.write(text + "\\n")
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "openvino_telemetry"):
            tell(f"import {{name}}")
sys.addaudithook(lambda event, args: tell(f"{{event}} {{args}}") if event in {WATCHED} else None)
sys.meta_path.insert(0, Finder())
tell("watching")
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


def test_nobody_is_told_of_the_use_nothing_printed_and_no_module_left(made, flow, tmp_path):
    """Both processes are watched: that of the task, and NNCF's."""
    home, told, folder = tmp_path / "home", tmp_path / "told", tmp_path / "compiled"
    home.mkdir()
    folder.mkdir()
    (tmp_path / "sitecustomize.py").write_text(SPY)
    for name in ("calibration_dataset.npy", "preprocessing.json"):
        (folder / name).write_bytes((made.folder / name).read_bytes())
    path = os.pathsep.join([str(tmp_path), *sys.path])
    # Nothing that silences a tool is passed on; what chooses kernels and threads is, for the bytes are to be the same.
    environment = {name: value for name, value in os.environ.items() if name.startswith(("ONEDNN_", "OMP_"))}
    environment |= {"HOME": str(home), "TOLD": str(told), "PYTHONPATH": path, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", SCRIPT, str(flow.student().folder / "model.onnx"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] True\n", "")
    assert told.read_text().splitlines() == ["watching", "watching"]
    assert list(home.iterdir()) == []
    assert (folder / "model.xml").read_bytes() == (made.folder / "model.xml").read_bytes()
    assert (folder / "model.bin").read_bytes() == (made.folder / "model.bin").read_bytes()
