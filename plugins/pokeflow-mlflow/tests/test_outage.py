"""A tracking server that is away, hangs or is killed: what it costs, and that everything arrives in the end."""

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
    return list((root / "untracked").iterdir())


def runs_in(uri, experiment):
    with connect(uri) as store:
        found = store.client.get_experiment_by_name(experiment)
        return list(store.client.search_runs([found.experiment_id])) if found else []


TIMEOUT = 60
"""Seconds; MLflow's own attempts would take minutes."""


def test_a_server_that_refuses_is_known_at_once(task, made, served, monkeypatch):
    monkeypatch.setattr(connection, "RESPONSE_SECONDS", 600)
    began = time.monotonic()
    with pytest.raises(PokeflowError, match=rf"MLflow at {served.address}: no response"):
        track.run(task("track", TrackParams(served.address), made()))
    assert time.monotonic() - began < TIMEOUT


def test_a_server_that_takes_the_call_and_says_nothing_is_not_waited_for_long(task, made, monkeypatch):
    monkeypatch.setattr(connection, "RESPONSE_SECONDS", 1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(PokeflowError, match="no response"):
            track.run(task("track", TrackParams(address), made()))
    assert 1 <= time.monotonic() - began < TIMEOUT


@pytest.mark.long
def test_a_run_while_the_server_is_down_is_whole_and_the_next_one_tells_it_all(served, tmp_path, monkeypatch):
    root = tmp_path / "store"
    flow = toy_flow(root, "tracking=mlflow-server", f"tracking.uri={served.address}", "project.name=toy")
    calls = []
    real = connection._require_response
    monkeypatch.setattr(connection, "_require_response", lambda uri: calls.append(uri) or real(uri))
    ran = run(flow).ran
    assert len(ran) > 4
    assert len(calls) == 1
    assert len(notes(root)) == len(ran)

    served.start()
    assert run(flow).ran == ()

    assert notes(root) == []
    found = runs_in(served.address, "toy")
    assert sorted(r.info.run_name for r in found) == sorted(ran)
    assert {r.info.status for r in found} == {"FINISHED"}


@pytest.mark.long
def test_a_server_that_is_killed_in_the_middle_gets_the_rest_later_and_nothing_twice(task, made, served, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    served.start()
    job = task("track", TrackParams(served.address, project="cards"), made({"history.jsonl": HISTORY, "a.md": "a"}))
    put = artifacts._put

    def killing(*args):
        served.kill()
        put(*args)

    monkeypatch.setattr(artifacts, "_put", killing)
    with pytest.raises(PokeflowError):
        track.run(job)
    monkeypatch.setattr(artifacts, "_put", put)
    with pytest.raises(PokeflowError, match="no response"):
        track.run(job)
    served.start()
    (half,) = runs_in(served.address, "cards")
    assert half.info.status == "RUNNING"

    track.run(job)

    (whole,) = runs_in(served.address, "cards")
    assert (whole.info.run_id, whole.info.status) == (half.info.run_id, "FINISHED")
    with connect(served.address) as store:
        history = store.client.get_metric_history(whole.info.run_id, "loss")
        assert [point.step for point in history] == [10 * e for e in range(1, 1500)]
        assert {a.path for a in store.client.list_artifacts(whole.info.run_id, "files")} == {
            "files/a.md",
            "files/history.jsonl",
        }
