"""A failed or killed compilation resumes from finished, undamaged files only."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from pokeflow import PokeflowError
from pokeflow.engine import worker
from pokeflow_hailo.params import Script
from pokeflow_vision.testing import network
from pokeflow_vision.testing.data import draw_dataset

from ..compile_flow import AFTER, FILE, count, names, report_of, with_captures


@pytest.mark.slow
def test_failed_compile_resumes_from_the_quantized_network(flow, backend, interpreter):
    failed = flow.task(python=interpreter("compile:crash"))
    with pytest.raises(PokeflowError, match="exited without a result: it crashed"):
        backend(failed)
    assert not (failed.output / FILE).exists()
    interpreter()
    again = flow.task(attempt=2)
    result = backend(again)
    assert count(again, "Starting Model Optimization") == 1
    assert count(again, "Building HEF") == 1
    assert report_of(again)["effective"]["calibration_images"] == 48
    assert names(again.output) == AFTER
    assert result.metrics["top1_accuracy"] == 1


@pytest.mark.slow
def test_resumed_compile_gives_the_same_hef(done, compiled, backend):
    again = compiled.task(attempt=2)
    backend(again)
    assert count(again, "Starting Model Optimization") == 1
    assert (done[0].output / FILE).read_bytes() == (again.output / FILE).read_bytes()


@pytest.mark.slow
def test_changed_inputs_are_quantized_again(compiled, backend, interpreter):
    python = interpreter("compile:BackendAllocatorException")
    other = network.model({**network.weights(), "conv1.bias": np.ones(16, np.float32)})
    changes = [
        (network.model(), draw_dataset(), Script("fast", batch_size=4)),
        (other, draw_dataset(), Script("fast")),
        (network.model(), with_captures(2), Script("fast")),
    ]
    for attempt, (model, data, script) in enumerate(changes, 2):
        inputs = compiled.student(model), compiled.prepared(data)
        task = compiled.task(*inputs, attempt=attempt, script=script, python=python)
        with pytest.raises(PokeflowError, match="BackendAllocatorException"):
            backend(task)
        assert count(task, "Starting Model Optimization") == attempt
        assert len(list(task.work.glob("optimized-*"))) == 1


def test_incomplete_optimization_is_repeated(compiled, backend):
    again = compiled.task(attempt=2)
    (kept,) = again.work.glob("optimized-*")
    (kept / "done.json").unlink()
    (kept / "optimized.har").write_bytes(b"half")
    (again.work / "optimized-part").mkdir()
    backend(again)
    assert count(again, "Starting Model Optimization") == 2


@pytest.mark.slow
@pytest.mark.parametrize("file", ["optimized.har", "quantized.npy", "done.json"])
@pytest.mark.parametrize("damaged", [lambda content: content[: len(content) // 2], lambda content: bytes(len(content))])
def test_damaged_optimization_is_repeated(done, compiled, backend, file, damaged):
    again = compiled.task(attempt=2)
    (kept,) = again.work.glob("optimized-*")
    (kept / file).write_bytes(damaged((kept / file).read_bytes()))
    backend(again)
    assert count(again, "Starting Model Optimization") == 2
    assert (done[0].output / FILE).read_bytes() == (again.output / FILE).read_bytes()


CHILD = """
import sys
from pathlib import Path
from pokeflow import plugins
from pokeflow.engine import worker
task, backend = worker.load(Path(sys.argv[1]).read_bytes(), plugins.registry(plugins.manager()))
backend(task)
"""


@pytest.mark.slow
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
