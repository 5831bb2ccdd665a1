"""Stage compile from end to end, with the compiler's double in a separate process."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
import yaml

from pokeflow import PokeflowError, UnavailableError
from pokeflow.engine import worker
from pokeflow.types import load_params
from pokeflow_hailo import hef
from pokeflow_hailo.params import Compiler, Script
from pokeflow_vision import index, preprocessing
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import network
from pokeflow_vision.testing.data import draw_dataset

from ..compile_flow import AFTER, BEFORE, FILE, STEM, names, report_of, without


def test_output_describes_what_was_compiled(done):
    task, result = done
    worker.require_sound(result, "compile")
    assert names(task.output) == AFTER
    assert hef.read(task.output / FILE).architecture == "hailo8l"
    config = yaml.safe_load((task.output / "hailo_config.yaml").read_text())
    assert config["compiler"] == {"name": "Hailo Dataflow Compiler", "version": "3.33.0"}
    assert config["script"]["commands"] == (task.output / f"{STEM}.alls").read_text().splitlines()
    assert (
        config["calibration"]["sha256"] == json.loads((task.output / "calibration_config.json").read_text())["sha256"]
    )
    assert config["input"] == {
        "name": "image",
        "layout": "NHWC",
        "channels": "RGB",
        "dtype": "uint8",
        "shape": [1, 32, 32, 3],
    }
    assert config["output"]["shape"] == [1, 32]
    assert (result.facts["target_hardware"], result.facts["hw_arch"]) == ("Hailo-8L", "hailo8l")
    assert result.facts["framework"] == "Hailo Dataflow Compiler 3.33.0"
    assert preprocessing.read(task.output).hash == result.facts["preprocessing"]


def test_output_of_a_double_is_marked_as_simulated(done):
    task, result = done
    assert result.facts["simulated"] is True
    assert report_of(task)["simulated"] is True
    assert yaml.safe_load((task.output / "hailo_config.yaml").read_text())["simulated"] is True
    assert json.loads((task.output / "dfc_profile.json").read_text())["simulated"] is True


def test_metrics_show_the_loss_of_each_step(done):
    task, result = done
    metrics = result.metrics
    assert metrics["native_cosine_to_parent_min"] == pytest.approx(1, abs=1e-5)
    assert metrics["fp_optimized_cosine_to_parent_min"] == pytest.approx(1, abs=1e-5)
    assert 0.98 < metrics["cosine_to_parent_min"] < 0.99999
    assert metrics["native_top1_accuracy"] == metrics["top1_accuracy_fp32"] == 1
    assert metrics["size_mb"] == (task.output / FILE).stat().st_size / 1e6
    report = report_of(task)
    assert set(report["sources"]) == set(metrics)
    assert report["sources"]["native_top1_accuracy"].startswith("dfc_emulator: SDK_NATIVE")
    assert report["sources"]["top1_accuracy_fp32"].startswith("counted: answers of ONNX Runtime")
    assert set(report["seconds"]) >= {"translate", "optimize", "emulate quantized", "compile"}


def test_index_holds_the_quantized_networks_gallery(done):
    task, _ = done
    gallery = index.read(task.output)
    kept = np.load(next(task.work.glob("optimized-*")) / "quantized_references.npy")
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(gallery.embeddings, kept / lengths, rtol=1e-5)
    assert len(gallery.card_ids) == 48


def test_compilers_estimate_names_its_source(done):
    task, _ = done
    estimate = json.loads((task.output / "dfc_profile.json").read_text())
    assert (estimate["source"], estimate["compiler"], estimate["reason"]) == ("dfc_estimate", "3.33.0", None)
    assert estimate["profile"]["stats"]["fps"] == 1.5
    assert estimate["profile"]["latency_data"]["latency"] is None


def test_missing_compiler_still_leaves_the_prepared_files(flow, backend):
    task = flow.task(python="/nowhere/python3.12")
    with pytest.raises(UnavailableError, match=r"^no Dataflow Compiler on this machine .*3\.33.*POKEFLOW_HAILO_PYTHON"):
        backend(task)
    assert names(task.output) == BEFORE
    config = yaml.safe_load((task.output / "hailo_config.yaml").read_text())
    assert config["compiler"]["version"] is None
    assert config["compiler"]["reason"].startswith("no Dataflow Compiler on this machine")
    dims = onnx.load(task.output / f"{STEM}.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 3, 32, 32]
    shown = np.load(task.output / "calibration_dataset.npy")
    assert (shown.shape, shown.dtype) == ((48, 32, 32, 3), np.uint8)


def test_missing_compiler_message_is_one_line(flow, backend):
    with pytest.raises(UnavailableError) as caught:
        backend(flow.task(python="/nowhere/python3.12"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_every_parameter_reaches_the_script(flow, backend):
    script = Script("accurate", optimization_level=0, precision={"conv1": "a16_w16"}, double_scale=("conv*",))
    task = flow.task(script=script)
    backend(task)
    assert (task.output / f"{STEM}.alls").read_text().splitlines() == [
        "normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])",
        "model_optimization_config(calibration, batch_size=8, calibset_size=48)",
        "model_optimization_flavor(optimization_level=0, compression_level=0)",
        "quantization_param({conv*}, bias_mode=double_scale_initialization)",
        "quantization_param(conv1, precision_mode=a16_w16)",
        "performance_param(compiler_optimization_level=max)",
    ]


def test_unknown_layer_is_reported_by_name(flow, backend):
    task = flow.task(script=Script("fast", precision={"conv9": "a16_w16"}))
    with pytest.raises(PokeflowError, match=r"BackendValueError: Layer conv9 .*line of the model script"):
        backend(task)
    assert not (task.output / FILE).exists()


def test_configured_but_unsupported_operator_is_reported(flow, backend):
    """``operators`` lets it pass the plugin's own check, but the installed compiler decides."""
    model = network.model()
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Selu"
    task = flow.task(flow.student(model), flow.prepared(), operators=("Selu",))
    with pytest.raises(PokeflowError, match=r"UnsupportedModelError: Selu .*node seen\.relu\. The parser"):
        backend(task)
    with pytest.raises(PokeflowError, match="operator Selu is not known to be supported"):
        backend(flow.task(flow.student(model), flow.prepared(), attempt=2))


@pytest.mark.slow
def test_calibration_uses_the_users_own_images(flow, backend, tmp_path):
    data = draw_dataset()
    np.save(tmp_path / "own.npy", preprocessing.to_square(data.query_images[:40], data.preprocessing))
    task = flow.task(
        *(flow.student(), flow.prepared(data)), calibration_images=None, calibration_file=str(tmp_path / "own.npy")
    )
    backend(task)
    config = json.loads((task.output / "calibration_config.json").read_text())
    assert (config["count"], config["calibset_size"]) == (40, 40)
    assert config["source"].startswith("the user's own pictures")
    assert report_of(task)["effective"]["calibration_images"] == 40


def test_requested_chip_is_passed_to_the_compiler(flow, backend):
    task = flow.task(hw_arch="hailo8")
    assert backend(task).facts["hw_arch"] == "hailo8"
    assert hef.read(task.output / FILE).architecture == "hailo8"


def test_a_parent_with_other_preprocessing_is_refused(flow, backend):
    parent = flow.student(spec=Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"distill:small: preprocessing .* differs"):
        backend(flow.task(parent, flow.prepared()))


def test_data_set_without_val_queries_is_refused(flow, backend):
    with pytest.raises(PokeflowError, match="no val queries"):
        backend(flow.task(flow.student(), flow.prepared(without("val"))))


@pytest.mark.slow
def test_another_machine_compiles_over_ssh(flow, backend, ssh_server, caplog):
    caplog.set_level("INFO")
    task = flow.task()
    compiler = Compiler(python=flow.python, host="pi")
    task = dataclasses.replace(task, params=dataclasses.replace(task.params, compiler=compiler))
    assert backend(task).facts["simulated"] is True
    assert names(task.output) == AFTER
    assert "Building HEF" in caplog.text
    assert list((ssh_server.home / "tmp").glob("pokeflow*")) == []


def test_compiler_location_does_not_change_the_digest(backend):
    from pokeflow.digest import digest_params

    here = load_params(backend)("hailo8l")
    there = dataclasses.replace(here, compiler=Compiler("/opt/python", "user@host", 2.0))
    assert digest_params(here) == digest_params(there)
