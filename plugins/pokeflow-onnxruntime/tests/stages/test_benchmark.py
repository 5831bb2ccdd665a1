"""Test stage benchmark: accuracy on captures of unseen cards, and measured times."""

import csv
import json

from pokeflow_vision import index


def test_perfect_embedder_has_full_accuracy(flow, backends):
    metrics = backends["benchmark"](flow.benchmark()).metrics
    assert metrics["top1_accuracy"] == metrics["top5_accuracy"] == metrics["artwork_top1_accuracy"] == 1


def test_shuffled_embedder_has_chance_accuracy(flow, backends, make_data):
    task = flow.benchmark(flow.student(), flow.prepared(make_data(shuffled=True)))
    assert backends["benchmark"](task).metrics["top1_accuracy"] <= 2 / 16


def test_benchmark_has_metrics_sources_and_facts(flow, backends):
    task = flow.benchmark(runs=120)
    result = backends["benchmark"](task)
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
    document = json.loads((task.output / "performance.json").read_text())
    assert set(document["sources"]) | set(document["reasons"]) == set(metrics)
    assert not set(document["sources"]) & set(document["reasons"])
    assert all(facts["device"] in document["sources"][name] for name in metrics if name not in ("size_mb", "power_w"))
    assert document["sources"]["latency_p50_ms"].startswith("timed on this machine's CPU")
    assert document["sources"]["throughput_fps_batch8"] == document["sources"]["latency_p50_ms"]
    assert document["sources"]["top1_accuracy"].startswith("counted: answers to the test queries")
    assert document["metrics"] == metrics
    assert document["device"] == facts["device"]


def test_benchmark_folder_has_every_run_and_the_gallery(flow, backends, make_data):
    task = flow.benchmark(runs=3, batch_sizes=(1, 2))
    backends["benchmark"](task)
    assert {file.name for file in task.output.iterdir()} == {
        "index.npz", "latencies.csv", "performance.json", "preprocessing.json"
    }  # fmt: skip
    rows = list(csv.DictReader((task.output / "latencies.csv").read_text().splitlines()))
    runs = [(row["what"], row["batch"], row["run"]) for row in rows]
    loops = [("network", "1"), ("network", "2"), ("preprocess", "1"), ("search", "1"), ("recognition", "1")]
    assert runs == [(*loop, str(i)) for loop in loops for i in range(3)]
    gallery = index.read(task.output)
    assert list(gallery.card_ids) == [card.card_id for card in make_data().cards]


def test_benchmark_uses_the_int8_network(flow, backends):
    task = flow.compile()
    backends["compile"](task)
    result = backends["benchmark"](flow.benchmark(flow.done(task), flow.student(), flow.prepared()))
    assert result.metrics["size_mb"] == (task.output / "model.onnx").stat().st_size / 1e6
    assert result.metrics["top1_accuracy"] == 1


def test_accuracy_is_the_same_in_every_run(flow, backends):
    tasks = [flow.benchmark(), flow.benchmark()]
    indices = []
    for task in tasks:
        backends["benchmark"](task)
        indices.append((task.output / "index.npz").read_bytes())
    assert indices[0] == indices[1]
