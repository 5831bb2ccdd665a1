"""Test two real processes over gloo, each with its own folders, as on two machines."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pokeflow import PokeflowError
from pokeflow_torch import distributed

from .conftest import write_data

# Arguments: data, teacher, a folder, and the cases to run one after another.
RUN = """
import json, os, sys, time, torch
from dataclasses import replace
from pathlib import Path
torch.set_num_threads(1)
from pokeflow.digest import digest_params
from pokeflow.types import Input, Record, Task
from pokeflow_torch.stages.profile import run
from pokeflow_torch import augment, step
from pokeflow_torch.stages import distill
from pokeflow_torch.stages import train
from pokeflow_torch import export
from pokeflow_torch.params import DistillParams, Loop, Margin, Network, Optim, ProfileParams, TrainParams

data, teacher, folder = map(Path, sys.argv[1:4])
export.write = lambda *_: None
rank = os.environ.get("RANK", "0")
options = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "init_values": 1.0}
network = Network("vit_small_patch16_dinov3", options=options, embedding_dim=16)
optim, margin = Optim(1e-3, ema=0.9), Margin(0.1, 16)
loop = Loop(epochs=3, batch_size=6, views=1, checkpoint_seconds=0.0, validate_every=2)
student = replace(network, options={**options, "depth": 1})
PARAMS = {
    "even": TrainParams(network, optim, loop, margin, 0.0),
    "even-student": DistillParams(student, {"feature": 0.5, "kl": 0.5, "task": 0.1}, 4.0, optim, loop, margin, 0.0),
    "attention": DistillParams(student, {"attention": 1.0}, 4.0, optim, loop, margin),
    "uneven": TrainParams(network, optim, replace(loop, batch_size=5), margin, 0.0),
    "long": TrainParams(network, optim, replace(loop, epochs=30), margin),
}
data_set = ("prepare:data", "prepare", "x", "1", "data", "v1", "data", "d", {}, {}, {}, {}, {}, (), "c", {}, "local")
record = Record(*data_set, "", "", 0)
inputs = (Input(record, data), Input(replace(record, stage="train", type="teacher"), teacher))
views, write, mode = augment.views, train.write_model, step.Learner.train

def attempt(case):
    calls = []
    def shown(*arguments):
        calls.append(1)
        if "slow" in case:
            time.sleep(0.05)
        return arguments[0] * float("nan") if "nan" in case and rank == "1" and len(calls) == 3 else views(*arguments)
    def refused(*_):
        raise ValueError("no room")
    augment.views = shown
    train.write_model = refused if "fails" in case else write
    # Batch normalization sees a process's own part. Without it nothing depends on the number of processes.
    step.Learner.train = (lambda self, on=True: mode(self, False)) if "even" in case else mode
    name = case.partition("+")[0]
    params, stage = PARAMS[name], distill if isinstance(PARAMS[name], DistillParams) else train
    work, out = (folder / case.replace("+slow", "") / (part + rank) for part in ("work", "out"))
    for part in (work, out):
        part.mkdir(parents=True, exist_ok=True)
    about = ("distill", "torch", "m", "v1", "student") if stage is distill else ("train", "torch", "m", "v1", "teacher")
    task = Task(*about, "d0", params, inputs[: 1 + (stage is distill)], work, out)
    try:
        outcome = stage.run(task).metrics
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    (work.parent / f"outcome{rank}.json").write_text(json.dumps(outcome))

def profile():
    step.Learner.train = mode
    model = folder / "even" / "out0"
    about = replace(record, stage="train", backend="torch", type="teacher", params=digest_params(PARAMS["even"]))
    work, out = (folder / "profile" / (part + rank) for part in ("work", "out"))
    for part in (work, out):
        part.mkdir(parents=True, exist_ok=True)
    short = ProfileParams(steps=3, warmup=1, traced=1)
    task = Task("profile", "torch", "m", "v1", "teacher", "d0", short, (Input(about, model), inputs[0]), work, out)
    outcome = run(task)
    (out.parent / f"outcome{rank}.json").write_text(json.dumps({**outcome.metrics, **outcome.facts}))

for case in sys.argv[4:]:
    profile() if case == "profile" else attempt(case)
"""

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("together") / "data")


@pytest.fixture(scope="module")
def start(data, teacher):
    """start(folder, *cases, processes=2) → the processes."""
    children = []

    def start(folder, *cases, processes=2):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        for rank in range(processes):
            several = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
            several |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            environment |= {key: str(value) for key, value in several.items()} if processes > 1 else {}
            command = [sys.executable, "-W", "ignore", "-c", RUN, data, teacher, folder, *cases]
            children.append(subprocess.Popen(command, env=environment))
        return children[-processes:]

    yield start
    for process in children:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def tried(start, tmp_path_factory):
    """Run all cases with one and with two processes; return both folders."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    assert codes(
        start(two, "even", "even-student", "attention", "uneven+even", "uneven+nan", "uneven+fails", "profile", "long")
    ) == [0, 0]
    assert codes(start(one, "even", "even-student", "uneven+even", processes=1)) == [0]
    return one, two


def codes(processes):
    return [process.wait(timeout=600) for process in processes]


def wait_for_steps(work, count):
    until = time.monotonic() + 600
    while time.monotonic() < until:
        file = work / "telemetry" / "steps.jsonl"
        if file.is_file() and len(file.read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    pytest.fail("no steps within minutes")


def outcomes(folder):
    return [json.loads((folder / f"outcome{rank}.json").read_text()) for rank in (0, 1)]


def weights(output):
    return torch.load(output / "weights.pt", weights_only=True)


def history(output):
    return [json.loads(line) for line in (output / "history.jsonl").read_text().splitlines()]


def distance(one, other):
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


@pytest.mark.parametrize("case", ["even", "even-student", "uneven+even"])
def test_two_processes_match_one(tried, case):
    alone, first = (folder / case / "out0" for folder in tried)
    assert distance(weights(alone), weights(first)) < 1e-3
    for one, two in zip(history(alone), history(first), strict=True):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-5)
    assert outcomes(tried[1] / case)[0] == outcomes(tried[1] / case)[1]


def test_only_the_first_process_writes(tried):
    folder = tried[1] / "even-student"
    assert not [*(folder / "out1").iterdir(), *(folder / "work1").iterdir()]
    written = {file.name for file in (folder / "out0").iterdir()}
    assert {"weights.pt", "checkpoint.pt", "distillation_report.json"} <= written


def test_unused_weights_do_not_block_training(tried):
    one, other = outcomes(tried[1] / "attention")
    assert one == other
    assert one["attention_loss"] > 0


def test_non_finite_loss_in_one_process_stops_both(tried):
    for said in outcomes(tried[1] / "uneven+nan"):
        assert "the loss is nan at step 2 of 6" in said


def test_failure_of_the_first_process_stops_the_other(tried):
    first, other = outcomes(tried[1] / "uneven+fails")
    assert first == "ValueError: no room"
    assert other == "PokeflowError: the first process failed: ValueError: no room"


def test_profile_of_two_processes_is_written_by_the_first(tried):
    folder = tried[1] / "profile"
    first, other = outcomes(folder)
    assert first == other
    assert first["processes"] == 2
    assert (folder / "out0" / "profiler-report.html").is_file()
    assert not list((folder / "out1").iterdir())


@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["signalled", "killed"])
def test_both_processes_stop_together_and_resume(start, tried, tmp_path, end):
    processes = start(tmp_path, "long+slow")
    wait_for_steps(tmp_path / "long" / "work0", 4)
    # SIGTERM goes to the second process only, twice, as launchers do; SIGKILL to both.
    for process in processes[end == signal.SIGTERM :]:
        process.send_signal(end)
        process.send_signal(end)
    assert codes(processes) == [128 + end if end == signal.SIGTERM else -end] * 2
    assert list((tmp_path / "long" / "work0").glob("checkpoint-*.pt"))
    assert not (tmp_path / "long" / "out0" / "weights.pt").exists()
    assert codes(start(tmp_path, "long")) == [0, 0]
    there, straight = (folder / "long" / "out0" for folder in (tmp_path, tried[1]))
    for name in ("weights.pt", "checkpoint.pt", "history.jsonl"):
        assert (there / name).read_bytes() == (straight / name).read_bytes(), name


def test_batch_too_small_for_the_processes_is_refused():
    def machine(rank, processes):
        return SimpleNamespace(process_index=rank, num_processes=processes)

    with pytest.raises(PokeflowError, match=r"loop\.batch_size: 5 views per step for 3 processes.*Set 6 or more"):
        distributed.batch_share(machine(0, 3), 5)
    assert np.isclose(sum(distributed.batch_share(machine(rank, 3), 8) for rank in range(3)), 1)
    assert distributed.batch_share(machine(0, 1), 2) == 1


def test_single_process_needs_no_communication():
    alone = SimpleNamespace(num_processes=1)
    assert distributed.run_on_main(alone, lambda: {"a": 1.5}) == {"a": 1.5}
    assert distributed.reduce_step(alone, {"loss": 2.0}, 1.0, None) == distributed.StepSummary({"loss": 2.0}, None)
