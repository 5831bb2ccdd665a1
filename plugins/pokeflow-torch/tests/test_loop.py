import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pokeflow_torch import checkpoint, loop, step
from pokeflow_torch.params import Loop, Optim
from pokeflow_torch.stages import train

from .conftest import write_data

# A run of a few seconds that saves after every step. Arguments: data, work, output.
RUN = """
import sys, torch
from dataclasses import replace
from pathlib import Path
torch.set_num_threads(1)
from pokeflow.types import Input, Record, Task
from pokeflow_torch.stages import train
from pokeflow_torch import export
from pokeflow_torch.params import Loop, Margin, Network, Optim, TrainParams
data, work, out = map(Path, sys.argv[1:4])
export.write = lambda *_: None
options = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "drop_path_rate": 0.2, "init_values": 1.0}
params = TrainParams(
    Network("vit_small_patch16_dinov3", options=options, embedding_dim=16),
    Optim(lr=1e-3, ema=0.9),
    Loop(epochs=20, batch_size=5, views=1, checkpoint_seconds=0.0),
    Margin(0.1, 16),
)
about = ("prepare:data", "prepare", "x", "1", "data", "v1", "data", "d", {}, {}, {}, {}, {}, (), "c", {}, "local")
record = Record(*about, "", "", 0)
train.run(Task("train", "torch", "m", "v1", "teacher", "d0", params, (Input(record, data),), work, out))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """folders(name) → the data, work and output folders of a run."""
    root = tmp_path_factory.mktemp("runs")
    write_data(root / "data")

    def make(name):
        for part in ("work", "out"):
            (root / name / part).mkdir(parents=True, exist_ok=True)
        return [str(root / "data"), str(root / name / "work"), str(root / name / "out")]

    return make


@pytest.fixture(scope="module")
def straight(folders):
    """Return the output folder of an uninterrupted run."""
    run = folders("straight")
    assert start(run).wait() == 0
    return run[2]


def start(arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", RUN, *arguments], env=environment)


def wait_for_checkpoint(work):
    until = time.monotonic() + 600  # a busy machine takes long to import torch
    while time.monotonic() < until:
        files = sorted(Path(work).glob("checkpoint-*.pt"))
        if files and int(files[-1].name.split("-")[1]) >= 3:
            return
        time.sleep(0.02)
    pytest.fail("no checkpoint within three minutes")


def weights(output):
    return torch.load(Path(output) / "weights.pt", weights_only=True)


def last_lines(output):
    """Return the last line of each step, without its time."""
    lines = (Path(output).parent / "work" / "telemetry" / "steps.jsonl").read_text().splitlines()
    return {row["step"]: {**row, "time": None} for row in map(json.loads, lines)}


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_killed_run_resumes_to_identical_weights(folders, straight, number):
    killed = folders(f"killed-{number}")
    process = start(killed)
    wait_for_checkpoint(killed[1])
    process.send_signal(number)
    assert process.wait() in (-signal.SIGKILL, 128 + signal.SIGTERM)
    assert not (Path(killed[2]) / "weights.pt").exists()
    assert start(killed).wait() == 0
    one, other = weights(straight), weights(killed[2])
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("history.jsonl", "checkpoint.pt"):
        files = [(Path(output) / name).read_bytes() for output in (straight, killed[2])]
        assert files[0] == files[1], name
    assert last_lines(killed[2]) == last_lines(straight)


def test_final_state_is_kept_and_training_can_continue(make, train_params):
    first = make("train", train_params)
    train.run(first)
    kept = torch.load(first.output / checkpoint.FILE, weights_only=True)
    assert set(kept) == {"learner", "shadow", "optimizer", "scaler", "step", "sums", "history"}
    assert (kept["step"], len(kept["history"])) == (6, 2)
    shipped = weights(first.output)
    assert shipped
    assert all(torch.equal(kept["shadow"][name], value) for name, value in shipped.items())
    raw = {name.removeprefix("network."): v for name, v in kept["learner"].items() if name.startswith("network.")}
    assert any(not torch.equal(raw[name], value) for name, value in shipped.items())

    longer = make("train", replace(train_params, loop=replace(train_params.loop, epochs=3)))
    checkpoint.write(longer.work, longer.digest, kept["step"], kept)
    train.run(longer)
    rows = [json.loads(line) for line in (longer.output / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 9]
    assert rows[0] == kept["history"][0]
    assert torch.load(longer.output / checkpoint.FILE, weights_only=True)["step"] == 9


def test_final_state_is_not_kept_when_disabled(make, train_params):
    task = make("train", replace(train_params, loop=replace(train_params.loop, keep_checkpoint=False)))
    train.run(task)
    assert not (task.output / checkpoint.FILE).exists()


def test_resume_is_logged(make, train_params, caplog, monkeypatch):
    task = make("train", replace(train_params, loop=replace(train_params.loop, checkpoint_seconds=0.0)))
    views, calls = step.augment.views, []

    def fail_at_the_fifth(*arguments):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("out of memory")
        return views(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(step.augment, "views", fail_at_the_fifth)
        with pytest.raises(RuntimeError, match="out of memory"):
            train.run(task)
    with caplog.at_level(logging.INFO):
        train.run(task)
    assert "resumed at step 4 of 6" in caplog.text


def test_ctrl_c_saves_a_checkpoint_of_the_current_step(make, train_params, monkeypatch):
    task = make("train", train_params)
    views, calls = step.augment.views, []

    def interrupt_at_the_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return views(*arguments)

    monkeypatch.setattr(step.augment, "views", interrupt_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        train.run(task)
    assert [file.name[:20] for file in task.work.iterdir() if file.is_file()] == ["checkpoint-000000002"]


def test_epoch_order_repeats_each_card_per_view_and_is_seeded():
    settings = Loop(views=3, seed=1)
    order = loop.epoch_order(settings, 10, 0)
    assert sorted(order.tolist()) == sorted([*range(10)] * 3)
    assert sorted(order[:10].tolist()) == [*range(10)]
    assert np.array_equal(order, loop.epoch_order(settings, 10, 0))
    assert not np.array_equal(order, loop.epoch_order(settings, 10, 1))
    assert not np.array_equal(order, loop.epoch_order(replace(settings, seed=2), 10, 0))


def test_precisions_can_differ_within_one_process(make, train_params):
    for precision in ("bf16", "fp16", "no"):
        params = replace(train_params, loop=replace(train_params.loop, precision=precision, epochs=1))
        assert train.run(make("train", params)).metrics["loss"] > 0


@pytest.mark.parametrize("part", [{"optim": Optim(lr=1e-3, ema=None)}, {"augment": 0.0}])
def test_averaging_and_augmentation_are_optional(make, train_params, part):
    params = replace(train_params, loop=replace(train_params.loop, epochs=1), **part)
    assert train.run(make("train", params)).metrics["loss"] > 0
