"""The benchmark on a chip: the same figures as on any target, each with its source, held against what is required."""

import csv
import json

import numpy as np
import pytest

from pokeflow import PokeflowError, UnavailableError
from pokeflow_hailo.params import BenchmarkParams, ProfileParams, Requires, check_benchmark, check_profile
from pokeflow_hailo.stages import benchmark
from pokeflow_vision import index
from pokeflow_vision.preprocessing import Preprocessing

from ..compile_flow import without
from ..doubles import hef_bytes
from ..ssh_server import NAME

FIGURES = {
    *("top1_accuracy", "top5_accuracy", "artwork_top1_accuracy", "latency_p50_ms", "latency_p95_ms"),
    *("latency_p99_ms", "hw_latency_ms", "throughput_fps_batch1", "throughput_fps_batch8", "temperature_c_max"),
    *("power_w", "power_idle_w", "size_mb"),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One benchmark that went well, for all who only look at it: task, result and performance.json."""
    from ..chip_flow import ChipFlow

    root = tmp_path_factory.mktemp("done")
    environment = {"HAILO_DOUBLE": "hailo8l", "HAILO_DOUBLE_NETWORKS": str(root / "networks.json")}
    task = ChipFlow(root, environment).benchmark(requires=Requires(10.0, 1e9, 2.5))
    result = benchmark.run(task)
    return task, result, json.loads((task.output / "performance.json").read_text())


def test_its_figures_have_the_names_of_every_benchmark(done):
    _, result, told = done
    assert set(result.metrics) == FIGURES
    assert told["metrics"] == result.metrics
    assert set(told["figures"]) == FIGURES


def test_a_figure_has_a_source_and_an_unknown_one_a_reason(done):
    _, result, told = done
    unknown = {name for name, value in result.metrics.items() if value is None}
    assert unknown == set(result.reasons) == {"latency_p99_ms", "hw_latency_ms", "power_w", "power_idle_w"}
    assert set(told["sources"]) == FIGURES - unknown
    for name, figure in told["figures"].items():
        assert figure["source"] in {"device", "accuracy", "file"}
        assert ("reason" in figure) == (name in unknown)


def test_what_a_double_measured_is_simulated_in_every_number(done):
    _, result, told = done
    assert result.facts["simulated"] is True
    assert told["simulated"] is True
    assert {name for name, figure in told["figures"].items() if not figure.get("simulated")} == {"size_mb"}


def test_requirements_are_met_missed_or_unknown_with_the_reason(done):
    _, result, told = done
    asked = result.facts["requirements"]
    assert asked == told["requirements"]
    assert {name: one["result"] for name, one in asked.items()} == {
        "latency_p50_ms": "met",
        "throughput_fps_batch1": "missed",
        "power_w": "unknown",
    }
    assert asked["latency_p50_ms"] == {
        "at most": 10.0,
        "measured": result.metrics["latency_p50_ms"],
        "result": "met",
    }
    assert "no sensor" in asked["power_w"]["reason"]


@pytest.mark.parametrize(
    ("required", "value", "result"),
    [
        ({"latency_p50_ms": 10.0}, 10.0, "met"),
        ({"latency_p50_ms": 10.0}, 10.1, "missed"),
        ({"throughput_fps_batch1": 100.0}, 100.0, "met"),
        ({"throughput_fps_batch1": 100.0}, 99.9, "missed"),
        ({"power_w": 2.5}, 2.5, "met"),
        ({"power_w": 2.5}, 2.6, "missed"),
    ],
)
def test_a_bound_itself_is_still_met(required, value, result):
    (name,) = required
    assert benchmark.compare_requirements(Requires(**required), {name: value}, {})[name]["result"] == result


def test_what_is_not_required_is_not_compared():
    assert benchmark.compare_requirements(Requires(), {"power_w": 1.0}, {}) == {}


def test_the_accuracy_is_of_the_chips_own_embeddings(done):
    task, result, _ = done
    assert result.metrics["top1_accuracy"] == 1
    cards = index.read(task.output)
    assert cards.embeddings.shape == (48, 32)
    assert np.allclose(np.linalg.norm(cards.embeddings, axis=1), 1)


def test_every_single_latency_is_in_a_file(done):
    task, result, _ = done
    with (task.output / "latencies.csv").open() as source:
        rows = list(csv.DictReader(source))
    single = [float(row["milliseconds"]) for row in rows if row["what"] == "network"]
    assert len(single) == result.facts["runs"]["latency"] == 24
    assert np.percentile(single, 50) == pytest.approx(result.metrics["latency_p50_ms"], abs=1e-6)
    for size in (1, 8):
        gaps = [float(row["milliseconds"]) for row in rows if (row["what"], row["batch"]) == ("pipelined", str(size))]
        rate = size * len(gaps) / sum(gaps) * 1000
        assert rate == pytest.approx(result.metrics[f"throughput_fps_batch{size}"], rel=1e-3)


def test_the_device_its_versions_and_the_compilers_are_told(done):
    _, result, _ = done
    assert result.facts["framework"] == "HailoRT 4.23.0"
    assert result.facts["device"].startswith("Hailo-8L, firmware 4.23.0")
    assert result.facts["chip"]["architecture"] == "hailo8l"
    assert result.facts["hef"] == {"architecture": "hailo8l", "compiler": "3.33.0"}
    assert "48 references" in result.facts["protocol"]


def test_what_a_manifest_shows_of_a_benchmark_is_told_in_the_form_that_it_takes(done):
    facts = done[1].facts
    assert {"device", "framework", "runs", "timing", "protocol"} <= facts.keys()
    assert all(isinstance(facts[name], str) for name in ("device", "framework", "timing", "protocol"))
    assert all(isinstance(count, int) for count in facts["runs"].values())


def test_over_ssh_it_is_the_same_but_for_time(chip_flow, ssh_server, done):
    task = chip_flow.benchmark(device=NAME)
    result = benchmark.run(task)
    assert result.metrics["top1_accuracy"] == done[1].metrics["top1_accuracy"]
    assert (task.output / "index.npz").read_bytes() == (done[0].output / "index.npz").read_bytes()
    assert len(ssh_server.connections) == 1


def test_without_a_chip_it_waits_and_leaves_no_figure(chip_flow):
    chip_flow.environment["HAILO_DOUBLE"] = ""
    task = chip_flow.benchmark()
    with pytest.raises(UnavailableError, match="no Hailo chip"):
        benchmark.run(task)
    assert [file.name for file in task.output.iterdir()] == ["preprocessing.json"]


def test_a_hef_for_another_chip_than_it_was_compiled_for_is_refused(chip_flow):
    model = chip_flow.compiled()
    (model.folder / "model.hef").write_bytes(hef_bytes.make("hailo8"))
    with pytest.raises(PokeflowError, match="is compiled for hailo8, but hailo8l is required"):
        benchmark.run(chip_flow.benchmark(model, chip_flow.prepared()))


def test_a_model_without_a_hef_is_refused(chip_flow):
    model = chip_flow.compiled()
    (model.folder / "model.hef").unlink()
    with pytest.raises(PokeflowError, match=r"has 0 \.hef files"):
        benchmark.run(chip_flow.benchmark(model, chip_flow.prepared()))


def test_a_model_with_other_preprocessing_is_refused(chip_flow):
    model = chip_flow.compiled(spec=Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"preprocessing .* differs"):
        benchmark.run(chip_flow.benchmark(model, chip_flow.prepared()))


def test_a_data_set_without_test_queries_is_refused(chip_flow):
    with pytest.raises(PokeflowError, match=r"no test queries.*data\.queries\.views"):
        benchmark.run(chip_flow.benchmark(chip_flow.compiled(), chip_flow.prepared(without("test"))))


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, []),
        ({"device": "pi@raspberrypi.local", "python": "/opt/hailo/bin/python"}, []),
        ({"device": "-oProxyCommand=id", "python": "-w"}, ["python", "device"]),
        ({"python": ""}, ["python"]),
        ({"runs": 0, "max_seconds": 0.0}, ["runs", "max_seconds"]),
    ],
)
def test_faults_are_found_before_a_device_is_asked(params, faults):
    assert [name for name, _ in check_benchmark(BenchmarkParams(**params))] == faults
    assert [name for name, _ in check_profile(ProfileParams(**params))] == faults
