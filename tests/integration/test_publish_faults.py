"""Kill and race publishers: the tree stays consistent, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pokeflow.objects import open_uri
from pokeflow_testkit.s3 import Server
from pokeflow_testkit.support import TOY

TREE = "project/pokemon-card-recognition"
WRITERS, RUNS = 8, 25


def start(what: str, spec: dict[str, Any]) -> "subprocess.Popen[str]":
    path = str(TOY)
    return subprocess.Popen(
        [sys.executable, "-m", "pokeflow_testkit.faults", what, json.dumps(spec)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_publishers(spec: dict[str, Any]) -> dict[str, Any]:
    process = start("kill", spec)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


def require_consistent(answer: dict[str, Any], points: int) -> None:
    seen = answer["points"]
    assert len(seen) == points
    assert {one["code"] for one in seen} == {-9}
    assert [one["faults"] for one in seen if one["faults"]] == []
    assert [one for one in seen if one["again"] != 0 or one["wrong"]] == []


@pytest.mark.slow
def test_tree_is_consistent_after_kills_at_50_points(tmp_path: Path) -> None:
    require_consistent(kill_publishers({"root": str(tmp_path), "points": 50}), 50)


@pytest.mark.long
def test_tree_on_s3_is_consistent_after_kills_at_50_points(tmp_path: Path, s3: Server) -> None:
    require_consistent(kill_publishers({"root": str(tmp_path), "remote": s3.uri, "points": 50}), 50)


@pytest.mark.long
def test_eight_publishers_on_a_bad_network_lose_nothing(tmp_path: Path, s3: Server) -> None:
    stop = tmp_path / "stop"
    specs = [
        {"root": str(tmp_path / f"machine{i}"), "remote": s3.uri, "number": i, "runs": RUNS} for i in range(WRITERS)
    ]
    s3.faults(slowdown=0.10, cut=0.03, lost=0.03, seed=1)
    watching = start("reader", {"root": str(tmp_path / "reader"), "remote": s3.uri, "stop": str(stop)})
    writers = [start("writer", spec) for spec in specs]
    for process in writers:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in writers:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [(process.communicate(timeout=500), process.returncode) for process in writers]
    stop.touch()
    seen, _ = watching.communicate(timeout=100)
    assert [err for (_, err), code in ended if code] == []
    assert s3.counts()["faults"].get("slowdown", 0) > 50
    s3.faults()
    assert "fault" not in seen
    assert int(seen.split()[-1]) > 3
    objects = open_uri(f"{s3.uri}/{TREE}", endpoint=s3.endpoint)
    manifest = json.loads(objects.read("metadata/project_manifest.json")[0])
    assert sorted(manifest["models"]) == [f"model{i}" for i in range(WRITERS)]
    runs = json.loads(objects.read("metadata/training_history.json")[0])["runs"]
    appended = [run["started"] for run in runs if run["started"].startswith("2026-01-01T00:")]
    assert sorted(appended) == sorted(
        f"2026-01-01T00:{number:02}:{i:02}.000000+00:00" for number in range(WRITERS) for i in range(RUNS)
    )
    assert len({run["id"] for run in runs}) == len(runs)
