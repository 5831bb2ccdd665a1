"""Test stage benchmark of any target: its counts, its timing, and metrics without a value."""

import csv
import dataclasses
import json
import time
from types import SimpleNamespace

import pytest

from pokeflow import PokeflowError
from pokeflow_testkit.images_support import Numpy, open_network, without
from pokeflow_vision import benchmark, index
from pokeflow_vision.benchmark import BenchmarkParams, Timing
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data

QUICK = BenchmarkParams(runs=24, warmup=1, threads=2, embed_threads=3)


def run(stage, *inputs, params=QUICK, open_network=open_network):
    task = stage.task("benchmark", params, *inputs)
    return task, benchmark.run(task, open_network, framework="Numpy 1.0", size_mb=lambda folder: 1.5)


def test_every_metric_has_a_source_or_a_reason(stage):
    task, result = run(stage)
    document = json.loads((task.output / "performance.json").read_text())
    assert document["metrics"] == result.metrics
    unknown = {name for name, value in result.metrics.items() if value is None}
    assert unknown == set(document["reasons"]) == set(result.reasons) == {"latency_p99_ms", "power_w"}
    assert set(document["sources"]) == set(result.metrics) - unknown
    assert (result.metrics["size_mb"], result.metrics["top1_accuracy"]) == (1.5, 1)
    assert result.facts["framework"] == "Numpy 1.0"


def test_accuracy_and_latency_use_their_own_thread_counts(stage):
    threads = []

    def watched(folder, spec, count):
        threads.append(count)
        return Numpy(spec)

    _, result = run(stage, open_network=watched)
    assert threads == [3, 2]
    assert result.facts["threads"] == 2


def test_every_run_is_saved_and_counted(stage):
    task, result = run(stage, params=BenchmarkParams(runs=3, warmup=0, batch_sizes=(1, 4)))
    rows = list(csv.DictReader((task.output / "latencies.csv").read_text().splitlines()))
    loops = [("network", "1"), ("network", "4"), ("preprocess", "1"), ("search", "1"), ("recognition", "1")]
    assert [(r["what"], r["batch"], r["run"]) for r in rows] == [(*loop, str(i)) for loop in loops for i in range(3)]
    assert result.facts["runs"] == dict.fromkeys(("batch1", "batch4", "preprocess", "search", "recognition"), 3)


def test_searched_gallery_is_written(stage):
    task, _ = run(stage)
    assert index.read(task.output).card_ids.tolist() == [card.card_id for card in data.draw_dataset().cards]


def test_unknown_artwork_gives_no_accuracy_but_a_reason(stage):
    drawn = data.draw_dataset()
    cards = tuple(dataclasses.replace(card, artwork="") for card in drawn.cards)
    _, result = run(stage, stage.model(), stage.prepared(dataclasses.replace(drawn, cards=cards)))
    assert result.metrics["artwork_top1_accuracy"] is None
    assert "share an artwork" in result.reasons["artwork_top1_accuracy"]


def test_data_set_without_test_queries_is_refused(stage):
    with pytest.raises(PokeflowError, match="benchmark: the data set has no test queries"):
        run(stage, stage.model(), stage.prepared(without("test")))


def test_model_of_other_preprocessing_is_refused(stage):
    with pytest.raises(PokeflowError, match=r"preprocessing .* differs"):
        run(stage, stage.model(Preprocessing(32, (0.5,) * 3, (0.5,) * 3)), stage.prepared())


def test_too_few_runs_give_no_percentile_but_a_reason():
    timing = Timing("batch1", 1, tuple(float(i) for i in range(1, 31)))
    metrics, reasons = benchmark.summary([timing])
    assert metrics["latency_p50_ms"] == 15.5
    assert metrics["latency_p95_ms"] == pytest.approx(28.55)
    assert metrics["latency_p99_ms"] is None
    assert reasons == {"latency_p99_ms": "30 runs were timed; this percentile needs 100 or more"}


def test_throughput_counts_pictures_not_runs():
    metrics, _ = benchmark.summary([Timing("batch8", 8, (100.0, 300.0))])
    assert metrics == {"throughput_fps_batch8": pytest.approx(40)}


@pytest.fixture
def timed(monkeypatch):
    """timed(seconds of a step, **params) → the measured milliseconds and the number of steps, by a fake clock."""

    def taken(seconds, **params):
        now, starts = [0.0], []

        def step():
            starts.append(now[0])
            now[0] += seconds

        monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: now[0]))
        milliseconds = list(benchmark.time_runs(step, BenchmarkParams(**params), "step"))
        monkeypatch.setattr(benchmark, "time", time)
        return milliseconds, len(starts)

    return taken


def test_warm_up_runs_are_not_counted(timed):
    milliseconds, steps = timed(0.02, runs=7, warmup=3)
    assert milliseconds == pytest.approx([20.0] * 7)
    assert steps == 10


def test_slow_step_is_timed_within_the_time_limit(timed):
    milliseconds, steps = timed(1.0, runs=1000, warmup=1000, max_seconds=10)
    assert (len(milliseconds), steps) == (9, 11)
    assert len(timed(60.0, runs=1000, warmup=5, max_seconds=1)[0]) == 1


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, []),
        ({"runs": 0, "warmup": -1, "threads": 0, "embed_threads": -1}, ["runs", "warmup", "threads", "embed_threads"]),
        ({"max_seconds": 0.0, "batch_sizes": (8,)}, ["max_seconds", "batch_sizes"]),
        ({"batch_sizes": (1, 1)}, ["batch_sizes"]),
        ({"batch_sizes": (1, 0)}, ["batch_sizes"]),
    ],
)
def test_invalid_parameters_are_reported(params, faults):
    assert [name for name, _ in benchmark.check(BenchmarkParams(**params))] == faults


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"cpuinfo": "processor : 0\nmodel name : Fast CPU\nmodel name : Fast CPU\n"}, "Fast CPU"),
        (
            {"cpuinfo": "processor : 0\nModel : Raspberry Pi 5\n", "model": "Raspberry Pi 5 Model B\0"},
            "Raspberry Pi 5 Model B",
        ),
    ],
)
def test_device_name_comes_from_the_system(files, name, tmp_path, monkeypatch):
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    monkeypatch.setattr(benchmark, "CPU", tmp_path / "cpuinfo")
    monkeypatch.setattr(benchmark, "BOARD", tmp_path / "model")
    assert benchmark.device() == name


def test_unknown_device_still_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "CPU", tmp_path / "absent")
    monkeypatch.setattr(benchmark, "BOARD", tmp_path / "absent")
    assert benchmark.device()
