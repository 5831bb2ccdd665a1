import json
import math
import pickle
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_mlflow.artifacts import TEXT_BYTES
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.fields import KEY, PARAM, TAG, flatten
from pokeflow_mlflow.params import TrackParams
from pokeflow_mlflow.stages import track

HISTORY = "".join(
    json.dumps({"epoch": e, "step": 10 * e, "loss": 1 / e, "top1_accuracy": e / 10}) + "\n" for e in (1, 2, 3)
)


def runs_in(uri, name):
    with connect(uri) as store:
        experiment = store.client.get_experiment_by_name(name)
        return list(store.client.search_runs([experiment.experiment_id])) if experiment else []


def the_run(uri, experiment="cards"):
    (run,) = runs_in(uri, experiment)
    return run


def curve(uri, run, metric):
    with connect(uri) as store:
        return [(m.step, m.value, m.timestamp) for m in store.client.get_metric_history(run.info.run_id, metric)]


@pytest.fixture
def track_it(task, uri):
    """Return a function that tracks a finished task in the experiment ``cards``; further arguments are parameters."""

    def it(finished, **params):
        return track.run(task("track", TrackParams(uri, project="cards", **params), finished))

    return it


@pytest.mark.slow
def test_run_has_name_and_duration_of_its_task(track_it, make_input, uri):
    facts = track_it(make_input()).facts

    info = the_run(uri).info
    assert facts == {"run_id": info.run_id, "experiment": "cards", "uri": uri}
    assert (info.run_name, info.status) == ("distill:efficientnet-student-stage1", "FINISHED")
    began = datetime(2026, 1, 10, 13, tzinfo=UTC).timestamp() * 1000
    assert (info.start_time, info.end_time) == (began, began + 100_000)


@pytest.mark.slow
def test_model_with_an_experiment_is_tracked_there(track_it, make_input, uri):
    named = {"dinov3-teacher": "pokemon-card-dinov3-teacher"}
    read = {"prepare:data": "aaaa"}
    track_it(
        make_input(model="dinov3-teacher", task="train:dinov3-teacher", stage="train", inputs=read), experiments=named
    )
    track_it(make_input(model="data", task="prepare:data", stage="prepare", inputs={}, digest="d2"), experiments=named)

    assert the_run(uri, "pokemon-card-dinov3-teacher").info.run_name == "train:dinov3-teacher"
    assert the_run(uri, "cards").info.run_name == "prepare:data"


def test_parameters_are_flattened(track_it, make_input, uri):
    track_it(make_input())

    assert the_run(uri).data.params == {
        "epochs": "3",
        "losses.kl.weight": "0.5",
        "losses.kl.temperature": "4",
        "layers": "[1, 2]",
        "note": "null",
    }


def test_tags_hold_the_provenance(track_it, make_input, uri):
    finished = make_input()
    track_it(finished)

    tags = the_run(uri).data.tags
    assert tags["pokeflow.digest"] == "0123456789abcdef"
    assert tags["pokeflow.task"] == "distill:efficientnet-student-stage1"
    assert tags["pokeflow.version"] == "v1.0"
    assert tags["pokeflow.parents"] == '{"prepare:data": "aaaa", "train:dinov3-teacher": "bbbb"}'
    assert tags["pokeflow.folder"] == str(finished.folder)
    assert tags["pokeflow.fact.architecture"] == "EfficientNet-Lite0"
    assert tags["mlflow.source.git.commit"] == "f00d" * 10
    assert tags["pokeflow.git.dirty"] == "true"


def test_unknown_metric_is_logged_as_a_reason(track_it, make_input, uri):
    track_it(make_input())

    data = the_run(uri).data
    assert "energy_j" not in data.metrics
    assert data.tags["pokeflow.reason.energy_j"] == "no meter on this machine"


def test_curve_points_have_steps_and_times_within_the_task(track_it, make_input, uri):
    track_it(make_input({"history.jsonl": HISTORY}))

    run = the_run(uri)
    steps, values, times = zip(*curve(uri, run, "loss"), strict=True)
    assert steps == (10, 20, 30)
    assert values == pytest.approx((1, 1 / 2, 1 / 3))
    assert sorted(times) == list(times)
    assert run.info.start_time < times[0]
    assert times[-1] < run.info.end_time


def test_final_metric_wins_over_a_curve_of_the_same_name(track_it, make_input, uri):
    track_it(make_input({"history.jsonl": HISTORY}, metrics={"top1_accuracy": 0.05}))

    assert the_run(uri).data.metrics.items() >= {"top1_accuracy": 0.05, "seconds": 99.5}.items()


def test_more_points_than_one_request_allows_are_logged(track_it, make_input, uri):
    rows = "".join(json.dumps({"step": i, "loss": i, "rate": -i}) + "\n" for i in range(1300))
    track_it(make_input({"history.jsonl": rows}))

    assert [step for step, _, _ in curve(uri, the_run(uri), "loss")] == list(range(1300))


def test_nan_loss_is_logged_as_nan(track_it, make_input, uri):
    track_it(make_input({"history.jsonl": '{"step": 1, "loss": 1.5}\n{"step": 2, "loss": NaN}\n'}))

    (_, first, _), (_, second, _) = curve(uri, the_run(uri), "loss")
    assert first == 1.5
    assert math.isnan(second)


def test_invalid_history_lines_are_skipped_with_a_warning(track_it, make_input, uri, caplog):
    lines = [
        '{"step": 1, "loss": 1}',
        "[1]",
        '{"step": "?", "loss": 9}',
        '{"step": 2, "loss": 2, "split": "val"}',
        '{"st',
    ]
    track_it(make_input({"history.jsonl": "\n".join(lines)}))

    assert [step for step, _, _ in curve(uri, the_run(uri), "loss")] == [1, 2]
    assert [r.message.partition(": ")[2] for r in caplog.records if r.name == "pokeflow_mlflow.curves"] == [
        f"line {n} is not a row of figures; skipped" for n in (2, 3, 5)
    ]


def test_small_text_is_uploaded_and_large_files_are_not(track_it, make_input, uri, database):
    files = {"report/summary.md": "# fine", "weights.pt": b"\0", "long.txt": "x" * (TEXT_BYTES + 1)}
    track_it(make_input(files))

    folder = Path(the_run(uri).info.artifact_uri.removeprefix("file://"))
    assert database.parent / "mlartifacts" in folder.parents
    uploaded = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    assert uploaded == {"record.json", "links.json", "files/report/summary.md"}
    assert json.loads((folder / "record.json").read_text())["facts"]["embedding_dim"] == 4
    assert list(Path.cwd().iterdir()) == []


def test_log_artifacts_uploads_every_file(track_it, make_input, uri):
    track_it(make_input({"weights.pt": b"\0\1"}), log_artifacts=True)

    folder = Path(the_run(uri).info.artifact_uri.removeprefix("file://"))
    assert (folder / "files/weights.pt").read_bytes() == b"\0\1"


def test_tracking_a_record_again_creates_no_second_run(track_it, make_input, uri):
    finished = make_input({"history.jsonl": HISTORY})
    first, second = track_it(finished), track_it(finished)

    assert first == second
    assert len(runs_in(uri, "cards")) == 1


def test_repeated_execution_is_a_separate_run(track_it, make_input, uri):
    track_it(make_input())
    track_it(make_input(started="2026-01-10T13:00:30.000+00:00"))

    assert len(runs_in(uri, "cards")) == 2


KILLED = """
import os, pickle, signal, sys
from pokeflow_mlflow import artifacts
from pokeflow_mlflow.stages import track
artifacts._put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
track.run(pickle.loads(sys.stdin.buffer.read()))
"""


@pytest.mark.slow
def test_tracking_interrupted_by_a_kill_is_completed(task, make_input, uri):
    job = task("track", TrackParams(uri, project="cards"), make_input({"history.jsonl": HISTORY}))
    killed = subprocess.run([sys.executable, "-c", KILLED], input=pickle.dumps(job), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert the_run(uri).info.status == "RUNNING"
    half = the_run(uri).data.metrics

    track.run(job)

    run = the_run(uri)
    assert (run.info.status, run.data.metrics, len(curve(uri, run, "loss"))) == ("FINISHED", half, 3)
    assert (Path(run.info.artifact_uri.removeprefix("file://")) / "files/history.jsonl").exists()


AT_ONCE = """
import dataclasses, pickle, sys
from pokeflow_mlflow.stages import track
task = pickle.loads(sys.stdin.buffer.read())
finished = task.inputs[0]
for n in range(5):
    record = dataclasses.replace(finished.record, digest=f"{sys.argv[1]}-{n}")
    track.run(dataclasses.replace(task, inputs=(dataclasses.replace(finished, record=record),)))
"""


@pytest.mark.slow
def test_concurrent_processes_can_create_the_database(task, make_input, tmp_path):
    uri = f"sqlite:///{tmp_path}/not/yet/there/mlflow.db"
    job = pickle.dumps(task("track", TrackParams(uri, project="cards"), make_input({"history.jsonl": HISTORY})))
    # All are started before the first gets its task, because the imports take most of the time.
    processes = [
        subprocess.Popen([sys.executable, "-c", AT_ONCE, str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for n in range(4)
    ]
    for process in processes:
        process.stdin.write(job)
        process.stdin.close()
        process.stdin = None
    ends = [(process.communicate()[1].decode(), process.returncode) for process in processes]

    assert ends == [("", 0)] * 4
    runs = runs_in(uri, "cards")
    assert {run.data.tags["pokeflow.digest"] for run in runs} == {f"{p}-{n}" for p in range(4) for n in range(5)}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(len(curve(uri, run, "loss")) == 3 for run in runs)


def test_password_in_a_record_is_not_logged(track_it, make_input, uri, database, caplog):
    secret = "https://ash:pikachu@mlflow.example.com"
    track_it(
        make_input(params={"uri": secret}, facts={"registry": secret, "deep": {"uri": secret}}, reasons={"x": secret})
    )

    run = the_run(uri)
    assert run.data.params == {"uri": "https://mlflow.example.com"}
    assert run.data.tags["pokeflow.fact.registry"] == "https://mlflow.example.com"
    written = [f for f in database.parent.rglob("*") if f.is_file()]
    assert len(written) >= 2
    assert not [f for f in written if b"pikachu" in f.read_bytes()]
    assert "pikachu" not in caplog.text


def test_failure_is_reported_in_one_sentence(task, make_input, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        PokeflowError, match=r"MLflow at sqlite:////.*/file/mlflow.db: .*(NotADirectory|FileExists)Error"
    ):
        track.run(task("track", TrackParams(f"sqlite:///{tmp_path}/file/mlflow.db"), make_input()))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=8)
    | st.text("xé", min_size=PARAM - 1, max_size=PARAM + 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
names = st.text(max_size=12) | st.text("a/.", max_size=8) | st.text("ab./", min_size=KEY - 2, max_size=KEY + 3)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, values, max_size=4))
def test_flattened_parameters_are_valid_for_mlflow(params):
    from mlflow.utils.validation import _validate_metric_name, _validate_param

    for key, value in flatten(params).items():
        _validate_metric_name(key)
        assert _validate_param(key, value).value == value  # within the limit: nothing is cut by MLflow


def test_long_fact_is_truncated_with_an_ellipsis(track_it, make_input, uri):
    track_it(make_input(facts={"protocol": "x" * (TAG + 5)}))

    assert the_run(uri).data.tags["pokeflow.fact.protocol"] == "x" * (TAG - 1) + "…"


@pytest.mark.slow
def test_server_tracks_like_a_database(task, make_input, server):
    job = task("track", TrackParams(server, project="cards"), make_input({"history.jsonl": HISTORY}))
    assert track.run(job) == track.run(job)

    run = the_run(server)
    assert (run.info.status, len(curve(server, run, "loss"))) == ("FINISHED", 3)
    with connect(server) as store:
        assert {a.path for a in store.client.list_artifacts(run.info.run_id)} == {
            "record.json",
            "links.json",
            "files",
        }


def test_only_training_stages_are_in_the_model_experiment(track_it, make_input, uri):
    model = "efficientnet-student-stage1"
    producers, later = {"train:dinov3-teacher": "bbbb"}, {f"prune:{model}": "cccc"}
    for stage in ("prune", "benchmark", "bundle", "register"):
        inputs = producers if stage == "prune" else later
        track_it(
            make_input(stage=stage, task=f"{stage}:{model}", inputs=inputs, digest=stage), experiments={model: "stage1"}
        )

    assert the_run(uri, "stage1").info.run_name == f"prune:{model}"
    assert sorted(run.info.run_name.partition(":")[0] for run in runs_in(uri, "cards")) == [
        "benchmark",
        "bundle",
        "register",
    ]


@pytest.mark.slow
def test_points_already_sent_are_not_sent_again(task, make_input, uri, monkeypatch):
    rows = "".join(json.dumps({"step": i, "loss": i}) + "\n" for i in range(2500))
    job = task("track", TrackParams(uri, project="cards"), make_input({"history.jsonl": rows}))
    real, sent = track._chunks, []

    def cut(items, size):
        for chunk in real(items, size):
            if size == track.MAX_METRICS:
                sent.append(len(chunk))
                if len(sent) == 3:
                    raise OSError("the network went")
            yield chunk

    monkeypatch.setattr(track, "_chunks", cut)
    with pytest.raises(PokeflowError, match="the network went"):
        track.run(job)
    assert the_run(uri).data.tags["pokeflow.points"] == str(2 * track.MAX_METRICS)
    track.run(job)

    # 2,500 steps and the final metrics; the third chunk was not sent the first time.
    run = the_run(uri)
    total = 2500 + len(job.inputs[0].record.metrics)
    assert sent == [999, 999, total - 1998, total - 1998]
    assert run.data.tags["pokeflow.points"] == str(total)
    assert [step for step, _, _ in curve(uri, run, "loss")] == list(range(2500))


def test_thinning_is_recorded_in_a_tag(track_it, make_input, uri):
    rows = "".join(json.dumps({"step": i, "time": 1768050000000 + i, "loss": i}) + "\n" for i in range(1, 31))
    track_it(make_input({"telemetry/steps.jsonl": rows}), rows=3)

    assert the_run(uri).data.tags["pokeflow.thinned.steps"] == "3 of 30 rows"
    assert [step for step, _, _ in curve(uri, the_run(uri), "train_loss")] == [10, 20, 30]


def test_duplicate_run_of_a_lost_answer_is_removed(task, make_input, uri):
    job = task("track", TrackParams(uri, project="cards"), make_input())
    facts = track.run(job).facts
    record = job.inputs[0].record
    with connect(uri) as store:
        experiment = store.client.get_experiment_by_name("cards").experiment_id
        store.client.create_run(experiment, 1, {"pokeflow.digest": record.digest, "pokeflow.started": record.started})

    assert track.run(job).facts == facts
    assert the_run(uri).info.run_id == facts["run_id"]
