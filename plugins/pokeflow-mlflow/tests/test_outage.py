"""An unreachable, hanging or killed tracking server costs little time, and all data arrive later."""

import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

import pokeflow
from pokeflow import PokeflowError
from pokeflow_mlflow import artifacts, connection
from pokeflow_mlflow.connection import connect
from pokeflow_mlflow.params import TrackParams
from pokeflow_mlflow.stages import track
from pokeflow_testkit.support import toy_flow

HISTORY = "".join(f'{{"epoch": {e}, "step": {10 * e}, "loss": {1 / e}}}\n' for e in range(1, 1500))


def run(flow):
    return pokeflow.run(flow)


def notes(root: Path):
    return list((root / "outbox").iterdir())


def runs_in(uri, name):
    with connect(uri) as store:
        experiment = store.client.get_experiment_by_name(name)
        return list(store.client.search_runs([experiment.experiment_id])) if experiment else []


TIMEOUT = 60
"""Seconds; MLflow's own retries would take minutes."""


def test_refused_connection_fails_quickly(task, make_input, mlflow_server, monkeypatch):
    monkeypatch.setattr(connection, "RESPONSE_SECONDS", 600)
    began = time.monotonic()
    with pytest.raises(PokeflowError, match=rf"MLflow at {mlflow_server.address}: no response"):
        track.run(task("track", TrackParams(mlflow_server.address), make_input()))
    assert time.monotonic() - began < TIMEOUT


@pytest.mark.slow
def test_silent_server_times_out(task, make_input, monkeypatch):
    monkeypatch.setattr(connection, "RESPONSE_SECONDS", 1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(PokeflowError, match="no response"):
            track.run(task("track", TrackParams(address), make_input()))
    assert 1 <= time.monotonic() - began < TIMEOUT


@pytest.mark.long
def test_next_run_tracks_results_of_an_outage(mlflow_server, tmp_path, monkeypatch):
    root = tmp_path / "store"
    flow = toy_flow(root, "tracking=mlflow-server", f"tracking.uri={mlflow_server.address}", "project.name=toy")
    calls = []
    real = connection._require_response
    monkeypatch.setattr(connection, "_require_response", lambda uri: calls.append(uri) or real(uri))
    ran = run(flow).ran
    assert len(ran) > 4
    assert len(calls) == 1
    assert len(notes(root)) == len(ran)

    mlflow_server.start()
    assert run(flow).ran == ()

    assert notes(root) == []
    runs = runs_in(mlflow_server.address, "toy")
    assert sorted(r.info.run_name for r in runs) == sorted(ran)
    assert {r.info.status for r in runs} == {"FINISHED"}


@pytest.mark.long
def test_tracking_interrupted_by_a_server_kill_is_completed(task, make_input, mlflow_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow_server.start()
    job = task(
        "track",
        TrackParams(mlflow_server.address, project="cards"),
        make_input({"history.jsonl": HISTORY, "a.md": "a"}),
    )
    put = artifacts._put

    def kill_and_put(*args):
        mlflow_server.kill()
        put(*args)

    monkeypatch.setattr(artifacts, "_put", kill_and_put)
    with pytest.raises(PokeflowError):
        track.run(job)
    monkeypatch.setattr(artifacts, "_put", put)
    with pytest.raises(PokeflowError, match="no response"):
        track.run(job)
    mlflow_server.start()
    (half,) = runs_in(mlflow_server.address, "cards")
    assert half.info.status == "RUNNING"

    track.run(job)

    (whole,) = runs_in(mlflow_server.address, "cards")
    assert (whole.info.run_id, whole.info.status) == (half.info.run_id, "FINISHED")
    with connect(mlflow_server.address) as store:
        history = store.client.get_metric_history(whole.info.run_id, "loss")
        assert [point.step for point in history] == [10 * e for e in range(1, 1500)]
        assert {a.path for a in store.client.list_artifacts(whole.info.run_id, "files")} == {
            "files/a.md",
            "files/history.jsonl",
        }
