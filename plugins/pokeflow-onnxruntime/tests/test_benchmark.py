"""Stage benchmark: accuracy on captures of unseen cards, and honest milliseconds."""

import csv
import dataclasses
import json
import time

import numpy as np
import pytest

from pokeflow import PokeflowError
from pokeflow.images import benchmark, index
from pokeflow.images.benchmark import BenchmarkParams, Timing
from pokeflow.images.preprocessing import Preprocessing


def test_a_perfect_embedder_is_right_every_time(flow, backends):
    metrics = backends["benchmark"].run(flow.benchmark()).metrics
    assert metrics["top1_accuracy"] == metrics["top5_accuracy"] == metrics["artwork_top1_accuracy"] == 1


def test_a_shuffled_one_is_right_by_chance(flow, backends, make_data):
    task = flow.benchmark(flow.student(), flow.prepared(make_data(shuffled=True)))
    assert backends["benchmark"].run(task).metrics["top1_accuracy"] <= 2 / 16


def test_an_unknown_artwork_is_none_with_a_reason(flow, backends, make_data):
    result = backends["benchmark"].run(flow.benchmark(flow.student(), flow.prepared(make_data(artwork=False))))
    assert result.metrics["artwork_top1_accuracy"] is None
    assert "artwork" in result.reasons["artwork_top1_accuracy"]


def test_figures_and_facts_of_a_run(flow, backends):
    task = flow.benchmark(runs=120)
    result = backends["benchmark"].run(task)
    metrics, facts = result.metrics, result.facts
    assert 0 < metrics["latency_p50_ms"] <= metrics["latency_p95_ms"] <= metrics["latency_p99_ms"]
    assert min(metrics[f"{name}_p50_ms"] for name in ("preprocess", "search", "recognition")) > 0
    assert min(metrics[f"throughput_fps_batch{n}"] for n in (1, 8)) > 0
    assert metrics["size_mb"] == (flow.root / "student" / "model.onnx").stat().st_size / 1e6
    assert facts["protocol"].startswith("16 query views (2 noisy views) of 8 test cards against 40 references")
    assert facts["runs"] == {"batch1": 120, "batch8": 120, "preprocess": 120, "search": 120, "recognition": 120}
    assert facts["threads"] == 1
    assert facts["device"]
    assert metrics["power_w"] is None
    assert result.reasons == {"power_w": "no sensor is read"}
    told = json.loads((task.output / "performance.json").read_text())
    assert set(told["sources"]) | set(told["reasons"]) == set(metrics)
    assert not set(told["sources"]) & set(told["reasons"])
    assert all(facts["device"] in told["sources"][name] for name in metrics if name not in ("size_mb", "power_w"))
    assert told["sources"]["latency_p50_ms"].startswith("timed on this machine's CPU")
    assert told["sources"]["throughput_fps_batch8"] == told["sources"]["latency_p50_ms"]
    assert told["sources"]["top1_accuracy"].startswith("counted: answers to the test queries")
    assert told["metrics"] == metrics
    assert told["device"] == facts["device"]


def test_its_folder_holds_every_run_and_the_gallery(flow, backends, make_data):
    task = flow.benchmark(runs=3, batch_sizes=(1, 2))
    backends["benchmark"].run(task)
    assert {file.name for file in task.output.iterdir()} == {
        "index.npz", "latencies.csv", "performance.json", "preprocessing.json"
    }  # fmt: skip
    rows = list(csv.DictReader((task.output / "latencies.csv").read_text().splitlines()))
    runs = [(row["what"], row["batch"], row["run"]) for row in rows]
    loops = [("network", "1"), ("network", "2"), ("preprocess", "1"), ("search", "1"), ("recognition", "1")]
    assert runs == [(*loop, str(i)) for loop in loops for i in range(3)]
    gallery = index.read(task.output)
    assert list(gallery.card_ids) == [card.card_id for card in make_data().cards]


def test_too_few_runs_give_no_percentile_but_a_reason():
    timing = Timing("batch1", 1, tuple(float(i) for i in range(1, 31)))
    metrics, reasons = benchmark.summary([timing])
    assert metrics["latency_p50_ms"] == 15.5
    assert metrics["latency_p95_ms"] == pytest.approx(28.55)
    assert metrics["latency_p99_ms"] is None
    assert reasons == {"latency_p99_ms": "30 runs were made; 100 or more are needed for this percentile"}


def test_throughput_counts_pictures_not_runs():
    metrics, _ = benchmark.summary([Timing("batch8", 8, (100.0, 300.0))])
    assert metrics == {"throughput_fps_batch8": pytest.approx(40)}


def timed(step, **params) -> list[float]:
    return list(benchmark.timed(step, BenchmarkParams(**params), "step"))


def test_warm_up_runs_are_made_and_not_counted():
    made = []
    assert len(timed(lambda: made.append(1), runs=7, warmup=3)) == 7
    assert len(made) == 10


def test_milliseconds_are_milliseconds():
    (taken,) = timed(lambda: time.sleep(0.02), runs=1, warmup=0)
    assert 20 <= taken < 60


def test_a_slow_step_stops_in_time_but_is_timed_at_least_once():
    began = time.perf_counter()
    found = timed(lambda: time.sleep(0.05), runs=1000, warmup=1000, max_seconds=0.3)
    assert time.perf_counter() - began < 1
    assert 2 <= len(found) <= 6
    assert len(timed(lambda: time.sleep(0.01), runs=1000, warmup=5, max_seconds=0.001)) == 1


def test_no_test_queries_are_refused(flow, backends, make_data):
    data = make_data()
    kept = [j for j, query in enumerate(data.queries) if query.split != "test"]
    fewer = dataclasses.replace(
        data, queries=tuple(data.queries[j] for j in kept), query_images=data.query_images[kept]
    )
    with pytest.raises(PokeflowError, match=r"no test queries.*data\.queries\.views"):
        backends["benchmark"].run(flow.benchmark(flow.student(), flow.prepared(fewer)))


def test_a_model_with_other_preprocessing_is_refused(flow, backends):
    model = flow.student(spec=Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"preprocessing .* differs"):
        backends["benchmark"].run(flow.benchmark(model, flow.prepared()))


def test_it_is_the_int8_network_that_is_benchmarked(flow, backends):
    task = flow.compile()
    backends["compile"].run(task)
    result = backends["benchmark"].run(flow.benchmark(flow.done(task), flow.student(), flow.prepared()))
    assert result.metrics["size_mb"] == (task.output / "model.onnx").stat().st_size / 1e6
    assert result.metrics["top1_accuracy"] == 1


def test_accuracy_is_the_same_in_every_run(flow, backends):
    tasks = [flow.benchmark(), flow.benchmark()]
    indices = []
    for task in tasks:
        backends["benchmark"].run(task)
        indices.append((task.output / "index.npz").read_bytes())
    assert indices[0] == indices[1]


def test_the_device_has_a_name():
    assert isinstance(benchmark.device(), str)
    assert np.char.str_len(benchmark.device()) > 1
