import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow.gates import Gate
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.params import RegisterParams, TrackParams
from pokeflow_mlflow.stages import register, track

FILES = {"model.onnx": b"onnx", "preprocessing.json": "{}", "weights.pt": b"large", "extra/labels.txt": "a"}
ABOUT = {
    "MLmodel", "conda.yaml", "input_example.json", "python_env.yaml", "requirements.txt", "serving_input_example.json"
}  # fmt: skip


def versions_in(uri):
    with connect(uri) as store:
        return sorted(store.client.search_model_versions(), key=lambda v: v.name)


def files_of(version):
    folder = Path(version.source.removeprefix("file://"))
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def benchmark(make_input):
    return make_input(
        stage="benchmark",
        task="benchmark:efficientnet-student-stage1",
        backend="onnxruntime",
        digest="beefbeefbeefbeef",
        metrics={"top1_accuracy": 0.9125, "energy_j": None},
    )


@pytest.fixture
def job(task, make_input, uri, benchmark):
    """Return a function that creates the register task of a model with its benchmark; arguments are parameters."""

    def make(**params):
        return task("register", RegisterParams(**{"uri": uri, **params}), make_input(FILES), benchmark)

    return make


def test_first_registration_is_version_one(job, uri):
    task = job()
    result = register.run(task)

    (version,) = versions_in(uri)
    assert (version.name, int(version.version)) == ("efficientnet-student-stage1", 1)
    assert result.facts == {
        "registered_model": "efficientnet-student-stage1",
        "registry_version": 1,
        "registry_uri": uri,
        "model_uri": "models:/efficientnet-student-stage1/1",
        "source": version.source,
        "gates": {},
        "alias": None,
    }
    assert json.loads((task.output / "registration.json").read_text()) == result.facts
    assert list(Path.cwd().iterdir()) == []


def test_tags_have_label_type_parent_and_benchmark_metrics(job, uri):
    register.run(job())

    (version,) = versions_in(uri)
    assert version.tags == {
        "pokeflow.digest": "0123456789abcdef",
        "pokeflow.content": "cccc",
        "pokeflow.task": "distill:efficientnet-student-stage1",
        "pokeflow.parent": "dinov3-teacher",
        "pokeflow.parents": '{"prepare:data": "aaaa", "train:dinov3-teacher": "bbbb"}',
        "pokeflow.record": "tasks/register/efficientnet-student-stage1/d1/record.json",
        "pokeflow.producer": "tasks/distill/efficientnet-student-stage1/0123456789abcdef/record.json",
        "pokeflow.answers": "embedding",
        "version": "v1.0",
        "type": "student",
        "pokeflow.metric.top1_accuracy": "0.9125",
        "pokeflow.reason.energy_j": "no meter on this machine",
    }


def test_description_summarizes_the_records(job, uri):
    register.run(job(description="For the phone."))

    assert versions_in(uri)[0].description == (
        "For the phone. student v1.0, EfficientNet-Lite0, 3,371,000 parameters, embeddings of 4, "
        "produced by distill with torch, top1_accuracy 0.9125."
    )


def test_model_is_registered_without_checkpoints(job, uri):
    register.run(job())

    assert files_of(versions_in(uri)[0]) - ABOUT == {"model.onnx", "preprocessing.json", "extra/labels.txt"}
    assert files_of(versions_in(uri)[0]) > ABOUT


def test_patterns_exclude_files(job, uri):
    register.run(job(without=("*.txt", "model.onnx")))

    assert files_of(versions_in(uri)[0]) == {"preprocessing.json", "weights.pt"}  # without a loadable model, no MLmodel


def test_registering_again_returns_the_existing_version(job, uri):
    assert register.run(job()) == register.run(job())
    assert len(versions_in(uri)) == 1


def test_new_benchmark_updates_metrics_of_the_version(job, uri, benchmark):
    register.run(job())
    again = job()
    better = replace(benchmark, record=replace(benchmark.record, metrics={"top1_accuracy": 0.95}, reasons={}))
    register.run(replace(again, inputs=(again.inputs[0], better)))

    (version,) = versions_in(uri)
    assert version.tags["pokeflow.metric.top1_accuracy"] == "0.95"
    assert "pokeflow.reason.energy_j" not in version.tags
    assert version.description.endswith("top1_accuracy 0.95.")


def test_new_digest_or_label_creates_a_version(job, uri, make_input):
    first = job()
    register.run(first)
    register.run(replace(first, inputs=(make_input(FILES, digest="fedcba9876543210"), *first.inputs[1:])))
    register.run(replace(first, version="v1.1"))

    versions = {int(v.version): (v.tags["pokeflow.digest"], v.tags["version"]) for v in versions_in(uri)}
    assert versions == {
        1: ("0123456789abcdef", "v1.0"),
        2: ("fedcba9876543210", "v1.0"),
        3: ("0123456789abcdef", "v1.1"),
    }


def test_model_without_benchmark_has_no_metrics(job, uri):
    whole = job()
    register.run(replace(whole, inputs=whole.inputs[:1]))

    assert not [tag for tag in versions_in(uri)[0].tags if tag.startswith("pokeflow.metric")]


def test_version_is_linked_to_its_training_run(job, task, uri):
    producer = job()
    run_id = track.run(task("track", TrackParams(uri, project="cards"), producer.inputs[0])).facts["run_id"]
    register.run(producer)
    register.run(replace(producer, version="v1.1"))

    assert [v.run_id for v in versions_in(uri)] == [run_id] * 2
    with connect(uri) as store:
        (output,) = store.client.get_run(run_id).outputs.model_outputs
        assert store.client.get_logged_model(output.model_id).source_run_id == run_id


def test_registry_may_be_another_database(job, uri, template, tmp_path):
    registry = f"sqlite:///{tmp_path}/registry.db"
    Path(tmp_path / "registry.db").write_bytes(template.read_bytes())
    facts = register.run(job(registry_uri=registry)).facts

    assert facts["registry_uri"] == registry
    assert versions_in(uri) == []
    assert len(versions_in(registry)) == 1


KILLED = """
import os, pickle, signal, sys
from pokeflow_mlflow.stages import register
setattr(register.mlmodel, sys.argv[1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
register.run(pickle.loads(sys.stdin.buffer.read()))
"""


@pytest.mark.slow
def test_registration_interrupted_by_a_kill_is_completed(job, uri):
    task = job()
    killed = subprocess.run([sys.executable, "-c", KILLED, "files"], input=pickle.dumps(task), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert versions_in(uri) == []

    register.run(task)

    (version,) = versions_in(uri)
    assert "MLmodel" in files_of(version)
    with connect(uri) as store:
        experiments = [e.experiment_id for e in store.client.search_experiments()]
        assert len(store.client.search_logged_models(experiments)) == 1


def test_logged_model_lists_its_versions(job, uri):
    register.run(job())
    register.run(replace(job(), version="v1.1"))

    with connect(uri) as store:
        (model,) = store.client.search_logged_models([e.experiment_id for e in store.client.search_experiments()])
    assert [(v["name"], int(v["version"])) for v in json.loads(model.tags["mlflow.modelVersions"])] == [
        ("efficientnet-student-stage1", 1),
        ("efficientnet-student-stage1", 2),
    ]


def test_only_the_gallery_of_the_benchmark_is_registered(job, uri, make_input):
    measured = make_input({"index.npz": b"gallery", "latencies.csv": "1"}, stage="benchmark", digest="beef")
    plain = job()
    register.run(replace(plain, inputs=(plain.inputs[0], measured)))

    (version,) = versions_in(uri)
    assert files_of(version) - ABOUT == {"model.onnx", "preprocessing.json", "extra/labels.txt", "index.npz"}
    assert version.tags["pokeflow.answers"] == "matches"


@pytest.mark.slow
def test_server_registers_like_a_database(job, server):
    task = job(uri=server, gates={"top1_accuracy": Gate(min=0.9)})
    assert register.run(task) == register.run(task)

    (version,) = versions_in(server)
    with connect(server) as store:
        assert store.client.get_registered_model(version.name).aliases == {"approved": "1"}
        (model,) = store.client.search_logged_models([e.experiment_id for e in store.client.search_experiments()])
    assert len(json.loads(model.tags["mlflow.modelVersions"])) == 1
    assert version.tags["version"] == "v1.0"
    assert version.source.startswith("mlflow-artifacts:/")
    assert "MLFLOW_TRACKING_URI" not in os.environ
