"""The benchmark on a chip: the same figures as on any target, with their sources, compared with requirements."""

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
    """Run one successful benchmark for tests that only read it; return task, result and performance.json."""
    from ..chip_flow import ChipFlow

    root = tmp_path_factory.mktemp("done")
    environment = {"HAILO_DOUBLE": "hailo8l", "HAILO_DOUBLE_NETWORKS": str(root / "networks.json")}
    task = ChipFlow(root, environment).benchmark(requires=Requires(10.0, 1e9, 2.5))
    result = benchmark.run(task)
    return task, result, json.loads((task.output / "performance.json").read_text())


@pytest.mark.slow
def test_figures_have_the_usual_names(done):
    _, result, report = done
    assert set(result.metrics) == FIGURES
    assert report["metrics"] == result.metrics
    assert set(report["figures"]) == FIGURES


@pytest.mark.slow
def test_figures_have_a_source_and_unknown_ones_a_reason(done):
    _, result, report = done
    unknown = {name for name, value in result.metrics.items() if value is None}
    assert unknown == set(result.reasons) == {"latency_p99_ms", "hw_latency_ms", "power_w", "power_idle_w"}
    assert set(report["sources"]) == FIGURES - unknown
    for name, figure in report["figures"].items():
        assert figure["source"] in {"device", "accuracy", "file"}
        assert ("reason" in figure) == (name in unknown)


def test_figures_of_a_double_are_marked_as_simulated(done):
    _, result, report = done
    assert result.facts["simulated"] is True
    assert report["simulated"] is True
    assert {name for name, figure in report["figures"].items() if not figure.get("simulated")} == {"size_mb"}


def test_requirements_are_met_missed_or_unknown_with_the_reason(done):
    _, result, report = done
    requirements = result.facts["requirements"]
    assert requirements == report["requirements"]
    assert {name: one["result"] for name, one in requirements.items()} == {
        "latency_p50_ms": "met",
        "throughput_fps_batch1": "missed",
        "power_w": "unknown",
    }
    assert requirements["latency_p50_ms"] == {
        "at most": 10.0,
        "measured": result.metrics["latency_p50_ms"],
        "result": "met",
    }
    assert "no sensor" in requirements["power_w"]["reason"]


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
def test_requirement_is_met_at_its_bound(required, value, result):
    (name,) = required
    assert benchmark.compare_requirements(Requires(**required), {name: value}, {})[name]["result"] == result


def test_figures_without_a_requirement_are_not_compared():
    assert benchmark.compare_requirements(Requires(), {"power_w": 1.0}, {}) == {}


def test_accuracy_uses_the_chips_own_embeddings(done):
    task, result, _ = done
    assert result.metrics["top1_accuracy"] == 1
    cards = index.read(task.output)
    assert cards.embeddings.shape == (48, 32)
    assert np.allclose(np.linalg.norm(cards.embeddings, axis=1), 1)


def test_every_latency_is_written_to_a_file(done):
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


def test_facts_name_device_and_versions(done):
    _, result, _ = done
    assert result.facts["framework"] == "HailoRT 4.23.0"
    assert result.facts["device"].startswith("Hailo-8L, firmware 4.23.0")
    assert result.facts["chip"]["architecture"] == "hailo8l"
    assert result.facts["hef"] == {"architecture": "hailo8l", "compiler": "3.33.0"}
    assert "48 references" in result.facts["protocol"]


def test_facts_have_the_types_that_the_manifest_needs(done):
    facts = done[1].facts
    assert {"device", "framework", "runs", "timing", "protocol"} <= facts.keys()
    assert all(isinstance(facts[name], str) for name in ("device", "framework", "timing", "protocol"))
    assert all(isinstance(count, int) for count in facts["runs"].values())


@pytest.mark.slow
def test_benchmark_over_ssh_gives_the_same_accuracy_and_index(chip_flow, ssh_server, done):
    task = chip_flow.benchmark(device=NAME)
    result = benchmark.run(task)
    assert result.metrics["top1_accuracy"] == done[1].metrics["top1_accuracy"]
    assert (task.output / "index.npz").read_bytes() == (done[0].output / "index.npz").read_bytes()
    assert len(ssh_server.connections) == 1


def test_missing_chip_is_unavailable_and_leaves_no_figure(chip_flow):
    chip_flow.environment["HAILO_DOUBLE"] = ""
    task = chip_flow.benchmark()
    with pytest.raises(UnavailableError, match="no Hailo chip"):
        benchmark.run(task)
    assert [file.name for file in task.output.iterdir()] == ["preprocessing.json"]


def test_hef_for_another_chip_is_refused(chip_flow):
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
def test_parameter_faults_are_reported(params, faults):
    assert [name for name, _ in check_benchmark(BenchmarkParams(**params))] == faults
    assert [name for name, _ in check_profile(ProfileParams(**params))] == faults
