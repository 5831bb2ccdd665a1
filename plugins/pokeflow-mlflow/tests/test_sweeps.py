import os
import pickle
import subprocess
import sys

import pytest
import yaml

from pokeflow_mlflow import sweeps
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.params import TrackParams
from pokeflow_mlflow.provenance import Trial
from pokeflow_mlflow.stages import track

SWEEP = "2026-11-25/22-31-16-123456"
DISTILLED = {"efficientnet-student-stage1": "stage1"}


def note(trial, sweep=SWEEP):
    entry = {"id": sweep, "trial": trial, "overrides": [f"lr=1e-{trial}", "seed=1"]}
    return yaml.safe_dump({"command": "pokeflow -m lr=1e-1,1e-2", "sweep": entry, "config": {"lr": trial}})


@pytest.fixture
def trial(make_input):
    """Return a function that creates a task of a trial, which finished ``seconds`` after the minute."""

    def make(number, seconds=40, **changes):
        finished = f"2026-01-10T13:01:{seconds:02}.000+00:00"
        return make_input(
            {"telemetry/run.yaml": note(number)}, **{"digest": f"d{number}", "finished": finished, **changes}
        )

    return make


@pytest.fixture
def track_it(task, uri):
    def it(finished, to=uri):
        return track.run(task("track", TrackParams(to, project="cards", experiments=DISTILLED), finished)).facts

    return it


def parents_and_children(uri, experiment="stage1"):
    with connect(uri) as store:
        runs = store.client.search_runs([store.client.get_experiment_by_name(experiment).experiment_id])
    parents = [run for run in runs if run.data.tags.get("pokeflow.stage") == "sweep"]
    return parents, [run for run in runs if run not in parents]


def test_trials_of_a_sweep_are_children_of_one_run(track_it, trial, uri):
    for number in (1, 2, 3):
        track_it(trial(number, seconds=10 * number))

    (parent,), children = parents_and_children(uri)
    assert parent.info.run_name == f"sweep {SWEEP}"
    assert parent.data.tags["pokeflow.command"] == "pokeflow -m lr=1e-1,1e-2"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {c.data.tags["pokeflow.sweep.trial"]: c.data.tags["pokeflow.sweep.overrides"] for c in children} == {
        "1": "lr=1e-1 seed=1",
        "2": "lr=1e-2 seed=1",
        "3": "lr=1e-3 seed=1",
    }
    assert {child.data.tags["pokeflow.sweep"] for child in children} == {SWEEP}


def test_parent_ends_with_its_last_child(track_it, trial, uri):
    track_it(trial(1, seconds=50))
    track_it(trial(2, seconds=20))

    (parent,), children = parents_and_children(uri)
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time == max(child.info.end_time for child in children)


def test_sweep_has_a_parent_in_each_of_its_experiments(track_it, trial, uri):
    track_it(trial(1))
    measured = "benchmark:efficientnet-student-stage1"
    inputs = {"distill:efficientnet-student-stage1": "d1"}
    track_it(trial(1, stage="benchmark", task=measured, digest="b1", inputs=inputs))

    for experiment in ("stage1", "cards"):
        (parent,), (child,) = parents_and_children(uri, experiment)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_shared_teacher_belongs_to_the_trial_that_trained_it(track_it, trial, uri):
    track_it(trial(2, stage="train", task="train:dinov3-teacher", model="dinov3-teacher", digest="t"))

    _, (teacher,) = parents_and_children(uri, "cards")
    assert teacher.data.tags["pokeflow.sweep.trial"] == "2"


def test_run_outside_a_sweep_has_no_parent(track_it, make_input, uri):
    track_it(make_input({"telemetry/run.yaml": yaml.safe_dump({"command": "pokeflow", "sweep": None, "config": {}})}))

    parents, (run,) = parents_and_children(uri)
    assert parents == []
    assert run.data.tags["pokeflow.command"] == "pokeflow"
    assert not {tag for tag in run.data.tags if tag == "mlflow.parentRunId" or tag.startswith("pokeflow.sweep")}


def test_oldest_of_two_parents_gets_all_children(track_it, trial, uri):
    track_it(trial(1))
    (first,), _ = parents_and_children(uri)
    with connect(uri) as store:
        # A trial on another machine saw no parent and created one, older by its clock, and a child.
        tags = {"pokeflow.sweep": SWEEP, "pokeflow.stage": "sweep"}
        experiment = first.info.experiment_id
        older = store.client.create_run(experiment, first.info.start_time - 5, tags, run_name="sweep").info.run_id
        child = store.client.create_run(
            experiment, 0, {"pokeflow.sweep": SWEEP, "pokeflow.stage": "distill", "mlflow.parentRunId": older}
        ).info.run_id
        store.client.set_terminated(child, "FINISHED", 1)
    track_it(trial(2))

    (parent,), children = parents_and_children(uri)
    assert parent.info.run_id == older
    assert len(children) == 3
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {older}


def test_next_trial_recreates_a_deleted_parent(track_it, trial, uri):
    track_it(trial(1))
    (parent,), _ = parents_and_children(uri)
    with connect(uri) as store:
        store.client.delete_run(parent.info.run_id)
    track_it(trial(2))

    (recreated,), children = parents_and_children(uri)
    by_trial = {child.data.tags["pokeflow.sweep.trial"]: child.data.tags["mlflow.parentRunId"] for child in children}
    assert by_trial["2"] == recreated.info.run_id


def test_sweep_with_unfinished_children_is_running(track_it, trial, uri):
    track_it(trial(1))
    _, (child,) = parents_and_children(uri)
    with connect(uri) as store:
        store.client.update_run(child.info.run_id, "RUNNING")
        store.client.create_run(
            child.info.experiment_id, 1, {"pokeflow.sweep": SWEEP, "pokeflow.stage": "distill", "pokeflow.digest": "x"}
        )
    track_it(trial(1))

    (parent,), _ = parents_and_children(uri)
    assert parent.info.status == "RUNNING"


@pytest.mark.parametrize(
    "text", ["", "- a list", "sweep: {id: x}", "sweep: 7", "command: [", "sweep: {id: x, trial: one, overrides: []}"]
)
def test_damaged_provenance_warns_and_does_not_fail(track_it, make_input, uri, text, caplog):
    track_it(make_input({"telemetry/run.yaml": text}))

    assert parents_and_children(uri)[0] == []
    assert "run.yaml: the provenance of the task cannot be read" in caplog.text


AT_ONCE = """
import pickle, sys
from pokeflow_mlflow.stages import track
from pokeflow_mlflow.connection import connect
task = pickle.loads(sys.stdin.buffer.read())
import mlflow
print("ready", flush=True)
sys.stdin.readline()
track.run(task)
"""


@pytest.mark.long
def test_concurrent_trials_on_a_server_share_one_parent(task, trial, server):
    params = TrackParams(server, project="cards", experiments=DISTILLED)
    with connect(server) as store:
        store.experiment("stage1")
    code = AT_ONCE.replace("pickle.loads(sys.stdin.buffer.read())", "pickle.loads(bytes.fromhex(sys.stdin.readline()))")
    processes = []
    for number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(pickle.dumps(task("track", params, trial(number))).hex() + "\n")
        process.stdin.flush()
        processes.append(process)
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [(process.communicate()[1], process.returncode) for process in processes]

    assert ends == [("", 0)] * 4
    (parent,), children = parents_and_children(server)
    assert len(children) == 4
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"


def test_sweep_id_with_quotes_is_searched_correctly(make_input, task, uri, trial):
    finished = make_input({"telemetry/run.yaml": note(1, sweep='it\'s `mine` \\ "x"')})
    track.run(task("track", TrackParams(uri, project="cards", experiments=DISTILLED), finished))

    (parent,), (child,) = parents_and_children(uri)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert sweeps.tags_of(Trial("s", 1, ()), "p")["mlflow.parentRunId"] == "p"


TRACK = """
import pickle, sys
from pokeflow_mlflow.stages import track
print(track.run(pickle.loads(sys.stdin.buffer.read())).facts["run_id"])
"""


@pytest.mark.long
def test_trials_on_two_machines_share_one_parent(task, trial, s3, tmp_path, monkeypatch):
    location = f"{s3.uri}/project/cards/experiments/mlflow"
    params = TrackParams(location, project="cards", experiments=DISTILLED, endpoint=s3.endpoint)
    processes = []
    for number in (1, 2, 3):
        # The third runs on the machine of the first. All write concurrently.
        cache = {"MLFLOW_S3_STORE_CACHE": str(tmp_path / f"machine-{number % 2}")}
        process = subprocess.Popen(
            [sys.executable, "-c", TRACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **s3.env, **cache},
        )
        processes.append((process, pickle.dumps(task("track", params, trial(number, seconds=10 * number)))))
    for process, job in processes:
        assert process.stdin
        process.stdin.write(job)
        process.stdin.close()
        process.stdin = None
    for process, _ in processes:
        stderr = process.communicate()[1]
        assert process.returncode == 0, stderr.decode()

    for name, value in {**s3.env, "MLFLOW_S3_STORE_CACHE": str(tmp_path / "machine-reader")}.items():
        monkeypatch.setenv(name, value)
    (parent,), children = parents_and_children(location)
    assert len(children) == 3
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {child.info.status for child in (parent, *children)} == {"FINISHED"}
    assert parent.info.end_time == max(child.info.end_time for child in children)
    assert {child.info.artifact_uri.partition("/project/")[0] for child in children} == {s3.uri}
    assert children[0].data.metrics["top1_accuracy"] == 0.875
