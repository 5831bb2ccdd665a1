"""The compiler's double is as strict as the real one is known to be: signatures, order, arrays, scripts."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from pokeflow_vision.testing import network

from ..compile_flow import DOUBLES

EMPTY = inspect.Parameter.empty
# The known parameters of the real package, by name and in order.
# ``*`` begins the keyword-only ones.
TABLE = {
    "__init__": "self, *, hw_arch, har",
    "translate_onnx_model": "self, model, net_name, start_node_names, end_node_names, net_input_shapes",
    "load_model_script": "self, model_script, append",
    "optimize": "self, calib_data, data_type, *, work_dir",
    "optimize_full_precision": "self, *, calib_data",
    "save_har": "self, har_path",
    "load_har": "self, har",
    "compile": "self",
    "infer_context": "self, inference_context",
    "infer": "self, context, dataset, batch_size, data_count",
    "profile": "self, *, should_use_logical_layers, hef_filename",
}


@pytest.fixture
def sdk(monkeypatch):
    monkeypatch.syspath_prepend(DOUBLES)
    import hailo_sdk_client

    yield hailo_sdk_client
    for name in [name for name in sys.modules if name.partition(".")[0] in ("hailo_sdk_client", "hef_bytes")]:
        del sys.modules[name]


@pytest.fixture
def parsed(sdk, tmp_path):
    model = network.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "n.onnx")
    runner = sdk.ClientRunner(hw_arch="hailo8l")
    runner.translate_onnx_model(str(tmp_path / "n.onnx"), "n", net_input_shapes={"image": [1, 3, 32, 32]})
    return runner


SCRIPT = """\
normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
model_optimization_config(calibration, batch_size=8, calibset_size=4)
model_optimization_flavor(optimization_level=0, compression_level=0)
"""
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)


def listed(function) -> str:
    names, named = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not named:
            named = True
            names.append("*")
        names.append(parameter.name)
    return ", ".join(names)


def test_signatures_match_the_table(sdk):
    public = [n for n, f in vars(sdk.ClientRunner).items() if inspect.isfunction(f) and not n.startswith("_")]
    assert set(TABLE) == {"__init__", *public}
    assert {name: listed(getattr(sdk.ClientRunner, name)) for name in TABLE} == TABLE


def test_arguments_that_the_real_package_refuses_are_refused(sdk, parsed):
    with pytest.raises(TypeError):
        sdk.ClientRunner("hailo8l")
    parsed.load_model_script(SCRIPT)
    parsed.optimize_full_precision(calib_data=PICTURES)
    for wrong in ({"optimization_level": 2}, {"batch_size": 8}):
        with pytest.raises(TypeError):
            parsed.optimize(PICTURES, **wrong)
    with pytest.raises(sdk.BackendValueError, match="hw_arch is not given"):
        sdk.ClientRunner()


def test_double_is_marked_as_simulated(sdk):
    assert sdk.SIMULATED is True


@pytest.mark.parametrize(
    "calls", ["optimize", "compile", "optimize_full_precision optimize compile compile", "profile", "twice"]
)
def test_calls_in_a_wrong_order_are_refused(sdk, parsed, calls, tmp_path):
    arguments = {
        "optimize": ((PICTURES,), {}),
        "optimize_full_precision": ((), {"calib_data": PICTURES}),
        "compile": ((), {}),
        "profile": ((), {"should_use_logical_layers": True, "hef_filename": __file__}),
        "twice": ((SCRIPT,), {}),
    }
    parsed.load_model_script(SCRIPT)
    *before, last = calls.split()
    for name in before:
        getattr(parsed, name)(*arguments[name][0], **arguments[name][1])
    if last == "twice":
        parsed.optimize_full_precision(calib_data=PICTURES)
        last = "load_model_script"
        arguments[last] = arguments["twice"]
    with pytest.raises(sdk.BackendValueError, match="after state"):
        getattr(parsed, last)(*arguments[last][0], **arguments[last][1])


WRONG = {
    "channels first": PICTURES.transpose(0, 3, 1, 2),
    "another size": PICTURES[:, :8],
    "normalized, with normalization in the script": (PICTURES / 127.5 - 1).astype(np.float32),
    "wider numbers": PICTURES.astype(np.float64),
    "fewer than calibset_size": PICTURES[:3],
    "a list": [*PICTURES],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calibration_data_is_refused(sdk, parsed, name):
    parsed.load_model_script(SCRIPT)
    with pytest.raises(sdk.BackendValueError):
        parsed.optimize_full_precision(calib_data=WRONG[name])


def test_pictures_for_another_stage_are_refused(sdk, parsed):
    with (
        parsed.infer_context(sdk.InferenceContext.SDK_NATIVE) as context,
        pytest.raises(sdk.BackendValueError, match="normalized for SDK_NATIVE"),
    ):
        parsed.infer(context=context, dataset=PICTURES)
    with pytest.raises(sdk.BackendValueError, match="while it is open"):
        parsed.infer(context=context, dataset=PICTURES)
    with pytest.raises(sdk.BackendValueError, match="after state 'parsed'"):
        parsed.infer_context(sdk.InferenceContext.SDK_QUANTIZED).__enter__()


@pytest.mark.parametrize(
    "line",
    [
        "optimization_level=2",
        "model_optimization_flavor(optimization_level=5, compression_level=0)",
        "model_optimization_config(calibration, calibset_size=64)",
        "quantization_param(conv1, precision_mode=int8)",
        "x = normalization([1, 2], [3, 4])",
        "# a comment",
    ],
)
def test_a_script_with_an_unknown_line_is_refused(sdk, parsed, line):
    with pytest.raises(sdk.BackendValueError, match="cannot be parsed"):
        parsed.load_model_script(SCRIPT + line)


@pytest.mark.parametrize("layer", ["conv9", "fc2", "conv1x", "other/conv1", "{dw*}", "embedding"])
@pytest.mark.parametrize("command", ["precision_mode=a16_w16", "bias_mode=double_scale_initialization"])
def test_layer_missing_from_the_network_is_refused(parsed, sdk, layer, command):
    with pytest.raises(sdk.BackendValueError, match="is not in the network n"):
        parsed.load_model_script(f"{SCRIPT}quantization_param({layer}, {command})\n")


@pytest.mark.parametrize("layer", ["conv1", "n/conv2", "fc1", "{conv*}", "{n/avg*}", "output_layer1"])
def test_layer_is_accepted_with_or_without_its_scope(parsed, layer):
    parsed.load_model_script(f"{SCRIPT}quantization_param({layer}, precision_mode=a16_w16)\n")


def test_unknown_operator_is_refused_with_its_node(sdk, tmp_path):
    model = network.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Selu"
    onnx.save(model, tmp_path / "n.onnx")
    with pytest.raises(sdk.UnsupportedModelError, match="Selu operation is unsupported: node "):
        sdk.ClientRunner(hw_arch="hailo8l").translate_onnx_model(
            str(tmp_path / "n.onnx"), "n", net_input_shapes={"image": [1, 3, 32, 32]}
        )


def test_dynamic_shape_is_refused(sdk, tmp_path):
    onnx.save(network.model(), tmp_path / "n.onnx")
    runner = sdk.ClientRunner(hw_arch="hailo8l")
    with pytest.raises(sdk.UnsupportedModelError):
        runner.translate_onnx_model(str(tmp_path / "n.onnx"), "n", net_input_shapes={"image": [1, 3, 32, 32]})


def test_compiler_is_not_imported_in_this_process():
    """The plugin imports the compiler only in another interpreter."""
    code = "import sys, pokeflow_hailo.stages.compile; print([m for m in sys.modules if m.startswith('hailo_')])"
    environment = {"PYTHONPATH": f"{':'.join(sys.path)}:{DOUBLES}"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]"
    assert Path(DOUBLES / "hailo_sdk_client").is_dir()
