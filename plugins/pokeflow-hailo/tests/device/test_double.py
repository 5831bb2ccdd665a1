"""HailoRT's double: no call that the real one lacks, no buffer that it would refuse, no invented figure."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pokeflow_vision.testing import network

from ..compile_flow import DOUBLES
from ..doubles import hef_bytes

FRAME = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture
def hailo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Load the double with a Hailo-8L, and write a HEF of each architecture that it plays."""
    monkeypatch.syspath_prepend(DOUBLES)
    for name in [name for name in sys.modules if name.partition(".")[0] == "hailo_platform"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("HAILO_DOUBLE", "hailo8l")
    monkeypatch.setenv("HAILO_DOUBLE_NETWORKS", str(tmp_path / "networks.json"))
    network.write(tmp_path)
    networks = {}
    for architecture in ("hailo8", "hailo8l"):
        content = hef_bytes.make(architecture)
        (tmp_path / f"{architecture}.hef").write_bytes(content)
        networks[hashlib.sha256(content).hexdigest()] = str(tmp_path / "model.onnx")
    (tmp_path / "networks.json").write_text(json.dumps(networks))
    yield importlib.import_module("hailo_platform")
    for name in [name for name in sys.modules if name.partition(".")[0] == "hailo_platform"]:
        del sys.modules[name]


@pytest.fixture
def model(hailo, tmp_path):
    """Yield an unconfigured model on a device with the scheduler on."""
    params = hailo.VDevice.create_params()
    params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    with hailo.VDevice(params) as device:
        yield device.create_infer_model(str(tmp_path / "hailo8l.hef"))


@pytest.fixture
def configured(hailo, model):
    model.output().set_format_type(hailo.FormatType.FLOAT32)
    with model.configure() as instance:
        yield instance


def bound(configured, picture=FRAME):
    bindings = configured.create_bindings()
    bindings.input().set_buffer(picture)
    bindings.output().set_buffer(np.empty(32, np.float32))
    return bindings


def test_calls_match_the_table(hailo):
    from hailo_platform import infer, signatures

    signatures.require()
    wider = {**vars(infer.VDevice), "reset": lambda self: None}
    assert signatures.public_calls(type("VDevice", (), wider)) != signatures.TABLE["VDevice"]


def test_double_is_marked_as_simulated(hailo):
    assert hailo.SIMULATED is True


def test_missing_device_raises_hailorts_errors(hailo, monkeypatch):
    monkeypatch.delenv("HAILO_DOUBLE")
    assert hailo.Device.scan() == []
    with pytest.raises(hailo.HailoRTException, match="device not found in the system"):
        hailo.Device()
    with pytest.raises(hailo.HailoRTException, match=r"74 \(HAILO_OUT_OF_PHYSICAL_DEVICES\)"):
        hailo.VDevice()


def test_hef_takes_str_or_bytes_but_no_path_object(hailo, tmp_path):
    with pytest.raises(ValueError, match="path \\(str\\)"):
        hailo.HEF(tmp_path / "hailo8l.hef")
    assert hailo.HEF(str(tmp_path / "hailo8l.hef")).get_network_group_names()
    assert hailo.HEF((tmp_path / "hailo8l.hef").read_bytes()).get_network_group_names()


def test_hef_without_a_network_is_refused(hailo, tmp_path):
    (tmp_path / "other.hef").write_bytes(hef_bytes.make(seed=1))
    with pytest.raises(AssertionError, match="nothing is made up"):
        hailo.HEF(str(tmp_path / "other.hef"))


def test_hailo8l_refuses_a_hef_for_hailo8(hailo, tmp_path, monkeypatch):
    with hailo.VDevice() as device, pytest.raises(hailo.HailoRTException, match="error: 93"):
        device.create_infer_model(str(tmp_path / "hailo8.hef"))
    monkeypatch.setenv("HAILO_DOUBLE", "hailo8")
    with hailo.VDevice() as device:
        assert device.create_infer_model(str(tmp_path / "hailo8l.hef"))


def test_chip_is_used_by_one_program_at_a_time(hailo):
    with hailo.VDevice(), pytest.raises(hailo.HailoRTException, match="error: 73"):
        hailo.VDevice()
    hailo.VDevice().release()


def test_chip_in_use_is_refused_to_another_process(hailo, tmp_path):
    code = "import hailo_platform; hailo_platform.VDevice()"
    command = [sys.executable, "-c", code]
    with hailo.VDevice():
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(DOUBLES)}, capture_output=True, text=True, check=False
        )
    assert "error: 73" in done.stderr
    free = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(DOUBLES)}, check=False)
    assert free.returncode == 0


def test_one_of_several_outputs_must_be_named(hailo, tmp_path):
    model = network.model()
    model.graph.output.append(onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, ["batch", 512]))
    onnx.save(model, tmp_path / "model.onnx")
    with hailo.VDevice() as device:
        loaded = device.create_infer_model(str(tmp_path / "hailo8l.hef"))
        assert len(loaded.output_names) == 2
        with pytest.raises(hailo.HailoRTException, match="Invalid operation"):
            loaded.output()
        with pytest.raises(hailo.HailoRTException, match="error: 61"):
            loaded.output("embedding")
        assert loaded.output(loaded.output_names[0]).shape == (32,)
        assert loaded.input().shape == (32, 32, 3)


def test_unknown_arguments_are_refused(hailo, configured):
    calls = [
        lambda: hailo.VDevice(device_id="x"),
        lambda: hailo.VDevice(None, ["x"]),
        lambda: configured.run([bound(configured)]),
        lambda: configured.run([bound(configured)], timeout_ms=1000),
        lambda: configured.run_async([bound(configured)], on_done=print),
        lambda: configured.run_async([bound(configured)]).wait(),
        lambda: configured.wait_for_async_ready(timeout=1),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("bindings", [lambda one: one, lambda one: (one,), lambda one: [], lambda one: [None]])
def test_run_takes_a_list_of_bindings(configured, bindings):
    with pytest.raises(TypeError, match="a list of bindings"):
        configured.run(bindings(bound(configured)), 1000)


@pytest.mark.parametrize(
    "picture",
    [
        FRAME[None],
        FRAME.astype(np.float32),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 64, 3), np.uint8)[:, ::2],
        FRAME.tolist(),
    ],
)
def test_buffers_that_do_not_fit_the_stream_are_refused(hailo, configured, picture):
    with pytest.raises(hailo.HailoRTException, match="buffer"):
        configured.create_bindings().input().set_buffer(picture)


def test_a_float_buffer_needs_the_float_format(hailo, model):
    with model.configure() as configured, pytest.raises(hailo.HailoRTException, match="not the stream's"):
        configured.create_bindings().output().set_buffer(np.empty(32, np.float32))


def test_settings_after_configuring_are_refused(hailo, model, configured):
    with pytest.raises(AssertionError, match="changes nothing any more"):
        model.set_batch_size(4)
    with pytest.raises(AssertionError, match="changes nothing any more"):
        model.output().set_format_type(hailo.FormatType.UINT8)


def test_a_frame_without_a_buffer_is_refused(hailo, configured):
    with pytest.raises(hailo.HailoRTException, match="Invalid argument"):
        configured.run([configured.create_bindings()], 1000)


def test_model_is_activated_only_without_the_scheduler(hailo, configured, tmp_path):
    with pytest.raises(hailo.HailoRTException, match="Invalid operation"):
        configured.activate()
    configured._model._device.release()
    with hailo.VDevice() as device:
        model = device.create_infer_model(str(tmp_path / "hailo8l.hef"))
        model.output().set_format_type(hailo.FormatType.FLOAT32)
        with model.configure() as alone:
            with pytest.raises(hailo.HailoRTException, match="not activated"):
                alone.run([bound(alone)], 1000)
            alone.activate()
            alone.run([bound(alone)], 1000)


def test_callback_gets_results_and_failures_by_keyword(hailo, configured, monkeypatch):
    infos = []

    def record(*, completion_info):
        infos.append(completion_info)

    configured.run_async([bound(configured)], callback=record).wait(9999)
    assert infos[0].exception is None
    monkeypatch.setenv("HAILO_DOUBLE_FAILS", "run_async=62")
    job = configured.run_async([bound(configured)], callback=record)
    with pytest.raises(hailo.HailoRTException, match="error: 62"):
        job.wait(9999)
    assert "62" in str(infos[1].exception)


def test_too_many_queued_frames_are_refused(hailo, configured):
    with pytest.raises(hailo.HailoRTException, match="Invalid argument"):
        configured.wait_for_async_ready(frames_count=65)


def test_run_after_closing_is_refused(hailo, model):
    model.output().set_format_type(hailo.FormatType.FLOAT32)
    with model.configure() as configured:
        frame = bound(configured)
        configured.run([frame], 1000)
    with pytest.raises(hailo.HailoRTException, match="error: 62"):
        configured.run([frame], 1000)


def test_power_needs_a_sensor_and_the_right_call_order(hailo, monkeypatch):
    control = hailo.Device().control
    with pytest.raises(hailo.HailoRTException):
        control.power_measurement()
    monkeypatch.setenv("HAILO_DOUBLE_SENSOR", "1")
    for call in (control.start_power_measurement, control.get_power_measurement):
        with pytest.raises(hailo.HailoRTException):
            call()
    control.set_power_measurement()
    control.start_power_measurement()
    assert control.get_power_measurement().average_value == 1.5
    control.stop_power_measurement()


def test_board_name_does_not_identify_the_chip(hailo):
    identity = hailo.Device().control.identify()
    assert "8L" not in identity.board_name
    assert (identity.device_architecture, identity.device_architecture.name) == (2, "HAILO8L")
