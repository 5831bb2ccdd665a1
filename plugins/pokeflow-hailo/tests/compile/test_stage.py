"""Stage compile from end to end, with the compiler's double in a process of its own."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import onnx
import pytest
import yaml

from pokeflow import PokeflowError, Unavailable, worker
from pokeflow.images import index, preprocessing
from pokeflow.images.preprocessing import Preprocessing
from pokeflow.testing import network
from pokeflow.testing.data import drawn
from pokeflow_hailo import hef
from pokeflow_hailo.compile import stage
from pokeflow_hailo.params import Algorithms, Compiler, Script

from ..compile_flow import AFTER, BEFORE, FILE, STEM, count, names, report_of, with_captures, without


def test_everything_is_left_that_says_what_was_compiled(done):
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


def test_what_a_double_made_is_marked_everywhere(done):
    task, result = done
    assert result.facts["simulated"] is True
    assert report_of(task)["simulated"] is True
    assert yaml.safe_load((task.output / "hailo_config.yaml").read_text())["simulated"] is True
    assert json.loads((task.output / "dfc_profile.json").read_text())["simulated"] is True


def test_damage_is_located_by_stage(done):
    task, result = done
    metrics = result.metrics
    assert metrics["native_cosine_to_parent_min"] == pytest.approx(1, abs=1e-5)
    assert metrics["fp_optimized_cosine_to_parent_min"] == pytest.approx(1, abs=1e-5)
    assert 0.98 < metrics["cosine_to_parent_min"] < 0.99999
    assert metrics["native_top1_accuracy"] == metrics["top1_accuracy_fp32"] == 1
    assert metrics["size_mb"] == (task.output / FILE).stat().st_size / 1e6
    told = report_of(task)
    assert set(told["sources"]) == set(metrics)
    assert told["sources"]["native_top1_accuracy"].startswith("dfc_emulator: SDK_NATIVE")
    assert told["sources"]["top1_accuracy_fp32"].startswith("counted: answers of ONNX Runtime")
    assert set(told["seconds"]) >= {"translate", "optimize", "emulate quantized", "compile"}


def test_the_index_is_the_gallery_of_the_quantized_network(done):
    task, _ = done
    found = index.read(task.output)
    kept = np.load(next(task.work.glob("optimized-*")) / "quantized_references.npy")
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(found.embeddings, kept / lengths, rtol=1e-5)
    assert len(found.card_ids) == 48


def test_the_compilers_estimate_says_where_it_comes_from(done):
    task, _ = done
    told = json.loads((task.output / "dfc_profile.json").read_text())
    assert (told["source"], told["compiler"], told["reason"]) == ("dfc_estimate", "3.33.0", None)
    assert told["profile"]["stats"]["fps"] == 1.5
    assert told["profile"]["latency_data"]["latency"] is None


def test_a_profiler_that_fails_leaves_the_reason(flow, backend, interpreter):
    task = flow.task(python=interpreter("profile:BackendValueError"))
    backend.run(task)
    told = json.loads((task.output / "dfc_profile.json").read_text())
    assert told["profile"] is None
    assert "BackendValueError" in told["reason"]


# Without a compiler


def test_without_a_compiler_all_up_to_there_is_written(flow, backend):
    task = flow.task(python="/nowhere/python3.12")
    with pytest.raises(Unavailable, match=r"^no Dataflow Compiler on this machine .*3\.33.*POKEFLOW_HAILO_PYTHON"):
        backend.run(task)
    assert names(task.output) == BEFORE
    config = yaml.safe_load((task.output / "hailo_config.yaml").read_text())
    assert config["compiler"]["version"] is None
    assert config["compiler"]["reason"].startswith("no Dataflow Compiler on this machine")
    given = onnx.load(task.output / f"{STEM}.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in given] == [1, 3, 32, 32]
    shown = np.load(task.output / "calibration_dataset.npy")
    assert (shown.shape, shown.dtype) == ((48, 32, 32, 3), np.uint8)


def test_the_sentence_is_one_line(flow, backend):
    with pytest.raises(Unavailable) as caught:
        backend.run(flow.task(python="/nowhere/python3.12"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


# Less than asked for


@pytest.fixture
def plenty():
    """A data set with 1,080 captures of train cards."""
    return with_captures(15)


def test_a_silent_downgrade_fails_with_its_reason(flow, backend, plenty):
    task = flow.task(flow.student(), flow.prepared(plenty), script=Script("default"), calibration_images=1024)
    with pytest.raises(PokeflowError, match=r"level 0 instead of 2, because there's no available GPU.*allow_downgrade"):
        backend.run(task)
    assert not list(task.work.glob("optimized-*/done.json"))
    assert not (task.output / FILE).exists()


def test_a_downgrade_that_is_allowed_is_reported(flow, backend, plenty):
    task = flow.task(
        *(flow.student(), flow.prepared(plenty)), script=Script(), calibration_images=1024, allow_downgrade=True
    )
    result = backend.run(task)
    told = report_of(task)
    assert (told["requested"]["optimization_level"], told["effective"]["optimization_level"]) == (2, 0)
    assert told["lowered_because"] == "there's no available GPU"
    assert any("Reducing optimization level" in line for line in told["warnings"])
    assert result.facts["quantization"] == "INT8, Hailo optimisation level 0"


def test_with_a_gpu_and_enough_images_the_level_is_as_asked(flow, backend, plenty, interpreter):
    python = interpreter(gpu=True)
    task = flow.task(*(flow.student(), flow.prepared(plenty)), script=Script(), calibration_images=1024, python=python)
    backend.run(task)
    told = report_of(task)
    assert told["requested"] == told["effective"]
    assert told["effective"]["calibration_images"] == 1024
    assert told["algorithms"]["Quantization-Aware Fine-Tuning"] == "done"


def test_too_few_images_for_the_level_are_refused_before_the_compiler_begins(flow, backend):
    task = flow.task(script=Script("default"), calibration_images=None)
    with pytest.raises(PokeflowError, match=r"level 2 needs 1,024 calibration images and there are 72"):
        backend.run(task)
    assert not list(task.work.glob("optimized-*"))


def test_a_calibration_on_fewer_images_fails(flow, backend, interpreter):
    task = flow.task(calibration_images=72, python=interpreter("optimize:calibset"))
    with pytest.raises(PokeflowError, match="calibrated on 64 images instead of 72"):
        backend.run(task)


def test_a_fine_tuning_that_is_skipped_without_a_word_fails(flow, backend, plenty, interpreter):
    python = interpreter("optimize:untuned", gpu=True)
    inputs = (flow.student(), flow.prepared(plenty))
    task = flow.task(*inputs, script=Script(), calibration_images=1024, python=python)
    with pytest.raises(PokeflowError, match="Quantization-Aware Fine-Tuning skipped, which level 2 is for"):
        backend.run(task)
    off = Script(algorithms=Algorithms(finetune="disabled"))
    backend.run(flow.task(*inputs, attempt=2, script=off, calibration_images=1024, python=python))


# What the compiler made


def test_a_hef_for_another_chip_is_refused(flow, backend, interpreter):
    with pytest.raises(PokeflowError, match=r"\.hef: is compiled for hailo8, and hailo8l is asked for"):
        backend.run(flow.task(python=interpreter("compile:wrong-arch")))


def test_a_hef_that_is_none_is_refused(flow, backend, interpreter):
    with pytest.raises(PokeflowError, match="not a sound HEF"):
        backend.run(flow.task(python=interpreter("compile:garbage")))


def test_another_compilers_version_in_the_hef_is_told(flow, backend, interpreter, caplog):
    task = flow.task(python=interpreter("compile:wrong-version"))
    backend.run(task)
    assert report_of(task)["hef"]["compiler_version_as_asked"] is False
    assert "the HEF says compiler 3.30.0, not 3.33.0" in caplog.text


@pytest.mark.parametrize(("how", "told"), [("nan", "NaN or infinity at the stage quantized"), ("shape", "ValueError")])
def test_what_the_emulator_gives_is_checked_and_not_kept(flow, backend, interpreter, how, told):
    task = flow.task(python=interpreter(f"infer quantized:{how}"))
    with pytest.raises(PokeflowError, match=told):
        backend.run(task)
    assert count(task, "Building HEF") == 0
    assert not list(task.work.glob("optimized-*/done.json"))


@pytest.mark.parametrize("call", ["optimize", "compile"])
def test_a_compiler_that_leaves_without_an_error_has_not_done_its_work(flow, backend, interpreter, call):
    with pytest.raises(PokeflowError, match=f"the Dataflow Compiler failed at {call}: SystemExit"):
        backend.run(flow.task(python=interpreter(f"{call}:exit")))


def test_every_parameter_reaches_the_script(flow, backend):
    script = Script("accurate", optimization_level=0, precision={"conv1": "a16_w16"}, double_scale=("conv*",))
    task = flow.task(script=script)
    backend.run(task)
    assert (task.output / f"{STEM}.alls").read_text().splitlines() == [
        "normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])",
        "model_optimization_config(calibration, batch_size=8, calibset_size=48)",
        "model_optimization_flavor(optimization_level=0, compression_level=0)",
        "quantization_param({conv*}, bias_mode=double_scale_initialization)",
        "quantization_param(conv1, precision_mode=a16_w16)",
        "performance_param(compiler_optimization_level=max)",
    ]


def test_pictures_of_ones_own_are_calibrated_on(flow, backend, tmp_path):
    data = drawn()
    np.save(tmp_path / "own.npy", preprocessing.to_square(data.query_images[:40], data.preprocessing))
    task = flow.task(
        *(flow.student(), flow.prepared(data)), calibration_images=None, calibration_file=str(tmp_path / "own.npy")
    )
    backend.run(task)
    config = json.loads((task.output / "calibration_config.json").read_text())
    assert (config["count"], config["calibset_size"]) == (40, 40)
    assert config["source"].startswith("pictures of one's own")
    assert report_of(task)["effective"]["calibration_images"] == 40


def test_another_chip_is_named_to_the_compiler(flow, backend):
    task = flow.task(hw_arch="hailo8")
    assert backend.run(task).facts["hw_arch"] == "hailo8"
    assert hef.read(task.output / FILE).architecture == "hailo8"


def test_a_parent_with_other_preprocessing_is_refused(flow, backend):
    parent = flow.student(spec=Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"distill:small: preprocessing .* differs"):
        backend.run(flow.task(parent, flow.prepared()))


def test_no_val_queries_are_refused(flow, backend):
    with pytest.raises(PokeflowError, match="no val queries"):
        backend.run(flow.task(flow.student(), flow.prepared(without("val"))))


# Killed, and gone on


def test_a_compile_that_failed_goes_on_from_the_quantized_network(flow, backend, interpreter):
    failed = flow.task(python=interpreter("compile:crash"))
    with pytest.raises(PokeflowError, match="ended without an answer: it crashed"):
        backend.run(failed)
    assert not (failed.output / FILE).exists()
    interpreter()
    again = flow.task(attempt=2)
    result = backend.run(again)
    assert count(again, "Starting Model Optimization") == 1
    assert count(again, "Building HEF") == 1
    assert report_of(again)["effective"]["calibration_images"] == 48
    assert names(again.output) == AFTER
    assert result.metrics["top1_accuracy"] == 1


def test_gone_on_or_not_the_hef_is_the_same(flow, backend, interpreter, tmp_path):
    straight = flow.task()
    backend.run(straight)
    again = flow.task(attempt=2)
    backend.run(again)
    assert count(again, "Starting Model Optimization") == 1
    assert (straight.output / FILE).read_bytes() == (again.output / FILE).read_bytes()


def test_what_was_quantized_is_not_taken_for_something_else(flow, backend, interpreter):
    python = interpreter("compile:BackendAllocatorException")
    other = network.model({**network.weights(), "conv1.bias": np.ones(16, np.float32)})
    changes = [
        (network.model(), drawn(), Script("fast")),
        (network.model(), drawn(), Script("fast", batch_size=4)),
        (other, drawn(), Script("fast")),
        (network.model(), with_captures(2), Script("fast")),
    ]
    for attempt, (model, data, script) in enumerate(changes, 1):
        inputs = flow.student(model), flow.prepared(data)
        task = flow.task(*inputs, attempt=attempt, script=script, python=python)
        with pytest.raises(PokeflowError, match="BackendAllocatorException"):
            backend.run(task)
        assert count(task, "Starting Model Optimization") == attempt
        assert len(list(task.work.glob("optimized-*"))) == 1


def test_a_half_written_optimisation_is_not_taken_for_done(flow, backend):
    task = flow.task()
    backend.run(task)
    (kept,) = task.work.glob("optimized-*")
    (kept / "done.json").unlink()
    (kept / "optimized.har").write_bytes(b"half")
    (task.work / "optimized-part").mkdir()
    again = flow.task(attempt=2)
    backend.run(again)
    assert count(again, "Starting Model Optimization") == 2


@pytest.mark.parametrize("file", ["optimized.har", "quantized.npy", "done.json"])
@pytest.mark.parametrize("damaged", [lambda content: content[: len(content) // 2], lambda content: bytes(len(content))])
def test_an_optimisation_that_was_damaged_since_is_made_again(flow, backend, file, damaged):
    task = flow.task()
    backend.run(task)
    (kept,) = task.work.glob("optimized-*")
    (kept / file).write_bytes(damaged((kept / file).read_bytes()))
    again = flow.task(attempt=2)
    backend.run(again)
    assert count(again, "Starting Model Optimization") == 2
    assert (task.output / FILE).read_bytes() == (again.output / FILE).read_bytes()


CHILD = """
import sys
from pathlib import Path
from pokeflow import plugins, worker
task, backend = worker.load(Path(sys.argv[1]).read_bytes(), plugins.registry(plugins.manager()))
backend.run(task)
"""


@pytest.mark.parametrize(
    ("how", "call"),
    [
        (signal.SIGINT, "optimize"),
        (signal.SIGTERM, "compile"),
        (signal.SIGKILL, "optimize"),
        (signal.SIGKILL, "compile"),
    ],
)
def test_the_compiler_and_its_children_end_with_the_task(flow, backend, interpreter, gone, how, call, tmp_path):
    task = flow.task(python=interpreter(f"{call}:hang"))
    file = tmp_path / "task.json"
    file.write_bytes(worker.dump(task))
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(file)])
    pids = tmp_path / "pids"
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert child.poll() is None
        os.sched_yield()
    child.send_signal(how)
    assert child.wait() != 0
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    while not all(gone(pid) for pid in started):
        os.sched_yield()
    assert not (task.output / FILE).exists()
    assert bool(list(task.work.glob("optimized-*/done.json"))) == (call == "compile")


def test_a_compiler_that_takes_too_long_is_ended(flow, backend, interpreter):
    task = flow.task(python=interpreter("optimize:hang"))
    compiler = Compiler(python=task.params.compiler.python, hours=2 / 3600)
    task = dataclasses.replace(task, params=dataclasses.replace(task.params, compiler=compiler))
    with pytest.raises(PokeflowError, match="took longer than"):
        backend.run(task)
    assert not list(task.work.glob("optimized-*/done.json"))


def test_a_flood_of_lines_is_read_and_bounded(flow, backend, interpreter, caplog, monkeypatch):
    monkeypatch.setattr(stage, "MAX_LOG", 100_000)
    task = flow.task(python=interpreter("optimize:flood"))
    backend.run(task)
    told = report_of(task)
    assert len(told["warnings"]) == 100
    assert told["effective"]["calibration_images"] == 48
    assert all("\x1b" not in line and len(line) <= 1000 for line in told["warnings"])
    assert (task.work / "telemetry" / "compiler.log").stat().st_size < 102_000
    assert sum("flood" in line for line in caplog.messages) <= 20_000


# Elsewhere


def test_another_machine_compiles_over_ssh(flow, backend, ssh_server, caplog):
    caplog.set_level("INFO")
    task = flow.task()
    compiler = Compiler(python=flow.python, host="pi")
    task = dataclasses.replace(task, params=dataclasses.replace(task.params, compiler=compiler))
    assert backend.run(task).facts["simulated"] is True
    assert names(task.output) == AFTER
    assert "Building HEF" in caplog.text
    assert list((ssh_server.home / "tmp").glob("pokeflow*")) == []


def test_where_it_was_compiled_changes_no_digest(backend):
    from pokeflow.digest import decisive

    here = backend.params("hailo8l")
    there = dataclasses.replace(here, compiler=Compiler("/opt/python", "user@host", 2.0))
    assert decisive(here) == decisive(there)
