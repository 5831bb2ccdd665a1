import itertools
import json
import logging
import multiprocessing
import resource
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from pokeflow_torch import step, telemetry
from pokeflow_torch.stages import distill, train

CPU = torch.device("cpu")
MACHINE = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
}


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def last_of_each_step(file):
    return {row["step"]: {k: v for k, v in row.items() if k != "time"} for row in lines(file)}


def events(file):
    """Return the events of a file, after checking every length and checksum as TensorBoard does."""
    data, parsed = file.read_bytes(), []
    while data:
        length = struct.unpack("<Q", data[:8])[0]
        body = data[12 : 12 + length]
        sums = struct.unpack("<I", data[8:12]) + struct.unpack("<I", data[12 + length : 16 + length])
        assert sums == (masked_crc32c(data[:8]), masked_crc32c(body))
        parsed.append(Event.FromString(body))
        data = data[16 + length :]
    assert parsed[0].file_version == "brain.Event:2"
    return parsed[1:]


def curves(work):
    """Return {tag: {step: value}} of a folder of event files, as TensorBoard reads them."""
    result = {}
    for file in sorted((work / "telemetry" / "tensorboard").iterdir()):
        for event in events(file):
            if event.session_log.status == SessionLog.START:
                result = {tag: {s: v for s, v in line.items() if s < event.step} for tag, line in result.items()}
            for value in event.summary.value:
                result.setdefault(value.tag, {})[event.step] = value.simple_value
    return result


def fail_at(call, monkeypatch):
    views, calls = step.augment.views, []

    def views_or_not(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise RuntimeError("out of memory")
        return views(*arguments)

    monkeypatch.setattr(step.augment, "views", views_or_not)


def test_each_step_has_a_line_with_rate_and_loss(make, train_params):
    task, began = make("train", train_params), time.time() * 1000
    train.run(task)
    rows = lines(task.work / "telemetry" / "steps.jsonl")
    assert [list(row) for row in rows] == [["step", "epoch", "time", "lr", "loss"]] * 6
    assert [(row["step"], row["epoch"]) for row in rows] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    rates = [train_params.optim.lr * step.rate(position, 6, train_params.optim.warmup) for position in range(6)]
    assert [row["lr"] for row in rows] == rates
    assert [began <= a["time"] <= b["time"] for a, b in itertools.pairwise(rows)] == [True] * 5
    history = lines(task.output / "history.jsonl")
    for epoch in (1, 2):
        losses = [row["loss"] for row in rows if row["epoch"] == epoch]
        assert history[epoch - 1]["train_loss"] == pytest.approx(sum(losses) / 3)


def test_each_loss_term_has_its_own_curve(make, distill_params, teacher):
    task = make("distill", distill_params, teacher=teacher)
    distill.run(task)
    terms = {f"{name}_loss" for name in distill_params.losses}
    for row in lines(task.work / "telemetry" / "steps.jsonl"):
        assert set(row) == {"step", "epoch", "time", "lr", "loss", *terms}
        weighed = sum(weight * row[f"{name}_loss"] for name, weight in distill_params.losses.items())
        assert row["loss"] == pytest.approx(weighed, rel=1e-4)
    assert {f"train/{name}" for name in terms} < set(curves(task.work))


def test_tensorboard_has_steps_and_validations(make, train_params):
    task = make("train", replace(train_params, loop=replace(train_params.loop, validate_every=1)))
    metrics = train.run(task).metrics
    shown = curves(task.work)
    rows = lines(task.work / "telemetry" / "steps.jsonl")
    for name in ("lr", "loss"):
        assert shown[f"train/{name}"] == pytest.approx({row["step"]: row[name] for row in rows})
    first, _ = lines(task.output / "history.jsonl")
    for name, value in metrics.items():
        assert shown[f"validation/{name}"] == pytest.approx({3: first[name], 6: value})
    assert set(shown) == {"train/lr", "train/loss", *(f"validation/{name}" for name in metrics)}


def test_telemetry_is_readable_during_training(make, train_params, monkeypatch):
    task = make("train", train_params)
    seen, views = [], step.augment.views

    def look(*arguments):
        folder = task.work / "telemetry"
        seen.append((len(lines(folder / "steps.jsonl")), len(curves(task.work).get("train/loss", ()))))
        return views(*arguments)

    monkeypatch.setattr(step.augment, "views", look)
    train.run(task)
    assert seen == [(n, n) for n in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("checkpoint_seconds", "steps"), [(30.0, [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]), (0.0, [*range(1, 7)])]
)
def test_repeated_steps_replace_the_earlier_ones(make, train_params, monkeypatch, checkpoint_seconds, steps):
    straight = make("train", train_params)
    train.run(straight)
    saving = replace(train_params.loop, checkpoint_seconds=checkpoint_seconds)
    task = make("train", replace(train_params, loop=saving))
    with monkeypatch.context() as patch:
        fail_at(5, patch)
        with pytest.raises(RuntimeError, match="out of memory"):
            train.run(task)
    train.run(task)
    file = Path("telemetry") / "steps.jsonl"
    assert [row["step"] for row in lines(task.work / file)] == steps
    assert last_of_each_step(task.work / file) == last_of_each_step(straight.work / file)
    assert curves(task.work) == curves(straight.work)


def test_machine_is_sampled_at_start_periodically_and_at_end(tmp_path, monkeypatch):
    monkeypatch.setattr(telemetry, "SYSTEM_EVERY", 0.25)
    file = tmp_path / "telemetry" / "system.jsonl"
    with telemetry.open_telemetry(tmp_path, 0, CPU, active=True):
        until = time.monotonic() + 120
        while not (file.is_file() and len(file.read_text().splitlines()) >= 3):
            assert time.monotonic() < until
            time.sleep(0.02)
        during = len(lines(file))
    rows = lines(file)
    assert len(rows) > during
    assert all(set(row) == {"time", *MACHINE} for row in rows)
    times = [row["time"] for row in rows]
    assert times == sorted(times)
    assert all(0 < row["system/system_memory_usage_percentage"] < 100 for row in rows)
    assert all(0 <= row["system/cpu_utilization_percentage"] <= 100 for row in rows)
    received = [row["system/network_receive_megabytes"] for row in rows]
    assert received == sorted(received)


def test_sampling_stops_when_training_ends_or_fails(make, train_params, monkeypatch):
    train.run(make("train", train_params))
    task = make("train", train_params)
    fail_at(2, monkeypatch)
    with pytest.raises(RuntimeError):
        train.run(task)
    assert "telemetry" not in {thread.name for thread in threading.enumerate()}
    assert len(lines(task.work / "telemetry" / "system.jsonl")) >= 1


def no_nvml(*_):
    raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")


def test_unknown_gpu_values_are_left_out(monkeypatch):
    class About:
        total_memory = 8e9

    cuda = torch.cuda
    for name, answer in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda i: About,
        "mem_get_info": lambda i: (6_000_000_000, 8_000_000_000),
        "device_memory_used": no_nvml,
        "utilization": no_nvml,
        "power_draw": no_nvml,
    }.items():
        monkeypatch.setattr(cuda, name, answer)
    used = {"system/gpu_1_memory_usage_megabytes": 2000.0, "system/gpu_1_memory_usage_percentage": 25.0}
    assert telemetry.gpus(torch.device("cuda", 1)) == used
    monkeypatch.setattr(cuda, "device_memory_used", lambda i: (i + 1) * 10**9)
    monkeypatch.setattr(cuda, "utilization", lambda i: 0)  # idle, not unknown
    monkeypatch.setattr(cuda, "power_draw", lambda i: 71_500)
    assert telemetry.gpus(torch.device("cuda", 1)) == {
        f"system/gpu_{i}_{name}": value
        for i in (0, 1)
        for name, value in {
            "memory_usage_megabytes": 1000.0 * (i + 1),
            "memory_usage_percentage": 12.5 * (i + 1),
            "utilization_percentage": 0.0,
            "power_usage_watts": 71.5,
        }.items()
    }


def test_without_a_gpu_there_are_no_gpu_values(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert telemetry.gpus(CPU) == {}


def test_only_the_first_process_writes_telemetry(tmp_path):
    with telemetry.open_telemetry(tmp_path, 0, CPU, active=False) as tell:
        tell.step(1, 1, {"loss": 1.0})
        tell.epoch({"epoch": 1, "step": 1, "loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_full_disk_loses_only_telemetry(make, train_params, caplog):
    straight, task = make("train", train_params), make("train", train_params)
    train.run(straight)
    folder = task.work / "telemetry"
    folder.mkdir()
    for name in ("steps.jsonl", "system.jsonl"):
        (folder / name).symlink_to("/dev/full")
    (folder / "tensorboard").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        train.run(task)
    one, other = (torch.load(t.output / "weights.pt", weights_only=True) for t in (straight, task))
    assert all(torch.equal(one[name], other[name]) for name in one)
    said = [record.message for record in caplog.records if "cannot be written" in record.message]
    assert sum("steps.jsonl" in line for line in said) == sum("system.jsonl" in line for line in said) == 1
    assert "No space left on device" in next(line for line in said if "steps.jsonl" in line)


def _outgrow(file, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    lines = telemetry._Lines(file)
    for number in range(100):
        lines.write(telemetry._line({"step": number, "time": 1_700_000_000_000}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    lines.write(telemetry._line({"step": 100}))  # writes fit again


@pytest.mark.slow
def test_line_that_does_not_fit_is_removed(tmp_path):
    file = tmp_path / "steps.jsonl"
    process = multiprocessing.get_context("spawn").Process(target=_outgrow, args=(file, 1000))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    steps = [row["step"] for row in lines(file)]
    assert steps == [*range(len(steps) - 1), 100]
    assert 10 < len(steps) < 100


def test_unfinished_line_does_not_damage_later_ones(tmp_path):
    file = tmp_path / "steps.jsonl"
    file.write_text('{"step": 1}\n{"ste')
    whole = telemetry._Lines(file)
    whole.write(telemetry._line({"step": 2}))
    whole.close()
    assert file.read_text() == '{"step": 1}\n{"ste\n{"step": 2}\n'
