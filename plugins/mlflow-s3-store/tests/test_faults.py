"""Concurrent, refused, killed and disconnected writers lose no data."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pokeflow_testkit.s3 import Server

pytestmark = [pytest.mark.long]
CROWD = Path(__file__).with_name("crowd.py")


def environment(**more: str) -> dict[str, str]:
    quick = {"MLFLOW_S3_STORE_FLUSH_SECONDS": "1", "MLFLOW_S3_STORE_FRESH_SECONDS": "0"}
    return {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **quick, **more}


def crowd(uri: str, jobs: list[dict]) -> list[dict]:
    spec = json.dumps({"uri": uri, "jobs": jobs})
    done = subprocess.run(
        [sys.executable, str(CROWD), spec], env=environment(), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("copies", ["one", "four"])
def test_concurrent_processes_lose_nothing_despite_503s(uri, s3: Server, cache, machine, copies) -> None:
    start = machine("start")
    run = start.tracking.create_run(start.tracking.create_experiment("shared"), "ash", 0, [], "run").info.run_id
    start.flush()
    folders = [str(cache(name)) for name in (("x",) * 4 if copies == "one" else "xyzw")]
    more = [str(cache("x" if copies == "one" else f"m{i}")) for i in range(8)]
    s3.faults(slowdown=0.1, seed=5)
    crowd(
        uri,
        [{"do": "log", "cache": folder, "run": run, "worker": n, "points": 1000} for n, folder in enumerate(folders)]
        + [{"do": "create", "cache": f, "experiment": "many", "worker": n, "runs": 5} for n, f in enumerate(more)],
    )
    assert s3.counts()["faults"]["slowdown"] > 5
    s3.faults()

    look = machine("look")
    shared = look.tracking.get_metric_history(run, "shared")
    assert len(shared) == 4000
    assert {m.value for m in shared} == {n + i / 1e6 for n in range(4) for i in range(1000)}
    for n in range(4):
        assert [int(m.value) for m in look.tracking.get_metric_history(run, f"own{n}")] == list(range(1000))
    data = look.tracking.get_run(run).data
    assert {f"worker {n}" for n in range(4)} <= set(data.tags)
    assert data.params == {f"worker {n}": "1000" for n in range(4)}
    latest = max(shared, key=lambda m: (m.step, m.timestamp, m.value))
    assert data.metrics["shared"] == latest.value

    many = look.tracking.get_experiment_by_name("many").experiment_id
    runs = MlflowClient(uri).search_runs([many])
    assert {r.info.run_name for r in runs} == {f"{n}-{i}" for n in range(8) for i in range(5)}
    assert all(r.info.status == "FINISHED" and len(r.data.params) == 1 and "m" in r.data.metrics for r in runs)


def test_concurrent_machines_get_distinct_version_numbers(uri, s3: Server, cache, machine) -> None:
    s3.faults(slowdown=0.1, lost=0.03, cut=0.03, seed=3)
    jobs = [
        {"do": "register", "cache": str(cache(f"m{n}")), "model": "net", "worker": n, "versions": 4} for n in range(8)
    ]
    numbers = {line["worker"]: line["versions"] for line in crowd(uri, jobs) if "versions" in line}
    s3.faults()

    versions = machine("look").registry.search_model_versions("name = 'net'", max_results=100)
    assert sorted(int(v.version) for v in versions) == list(range(1, 33))
    by = {v.tags["by"]: int(v.version) for v in versions}
    assert by == {f"{n}-{i}": number for n in range(8) for i, number in enumerate(numbers[n])}


LOGGER = """
import sys
from mlflow import MlflowClient
from mlflow.entities import Metric
uri, run = sys.argv[1:]
client = MlflowClient(uri)
for i in range(100000):
    client.log_batch(run, [Metric("m", i, i, i)])
    print(i, flush=True)
"""


def logger(uri: str, run: str, **more: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", LOGGER, uri, run], env=environment(**more), text=True, **pipes)


def read_until(process: subprocess.Popen[str], count: int) -> int:
    assert process.stdout
    last = -1
    while last < count:
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        last = int(line)
    return last


def test_next_process_publishes_data_of_a_killed_one(uri, machine) -> None:
    a = machine("a")
    run = a.tracking.create_run(a.tracking.create_experiment("cards"), "ash", 0, [], "run").info.run_id
    a.flush()
    process = logger(uri, run, MLFLOW_S3_STORE_FLUSH_SECONDS="3600")
    read_until(process, 50)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    last = int(rest[-1]) if rest else 50

    look = machine("look")
    assert look.tracking.get_metric_history(run, "m") == []
    a.flush()
    assert {m.step for m in look.tracking.get_metric_history(run, "m")} >= set(range(last + 1))


@pytest.mark.parametrize("way", ["SIGTERM", "exit"])
def test_process_publishes_before_it_ends(uri, machine, way) -> None:
    a = machine("a")
    run = a.tracking.create_run(a.tracking.create_experiment("cards"), "ash", 0, [], "run").info.run_id
    a.flush()
    if way == "SIGTERM":
        process = logger(uri, run, MLFLOW_S3_STORE_FLUSH_SECONDS="3600")
        last = read_until(process, 20)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 143
    else:
        code = LOGGER.replace("100000", "20")
        last = 19
        subprocess.run([sys.executable, "-c", code, uri, run], env=environment(), check=True, capture_output=True)
    steps = {m.step for m in machine("look").tracking.get_metric_history(run, "m")}
    assert steps >= set(range(last + 1))


def test_unreachable_bucket_does_not_stop_logging(uri, s3: Server, machine) -> None:
    a = machine("a")
    run = a.tracking.create_run(a.tracking.create_experiment("cards"), "ash", 0, [], "run").info.run_id
    a.flush()
    code = LOGGER.replace("100000", "20")
    s3.faults(cut=1.0)
    done = subprocess.run(
        [sys.executable, "-c", code, uri, run],
        env=environment(AWS_MAX_ATTEMPTS="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "are not published. They are kept in" in done.stderr
    s3.faults()
    a.flush()
    assert {m.step for m in machine("look").tracking.get_metric_history(run, "m")} == set(range(20))


def test_forked_child_and_parent_lose_nothing(uri, machine) -> None:
    a = machine("a")
    run = a.tracking.create_run(a.tracking.create_experiment("cards"), "ash", 0, [], "run").info.run_id
    a.flush()
    code = """
import os, sys
from mlflow import MlflowClient
uri, run = sys.argv[1:]
client = MlflowClient(uri)
client.log_metric(run, "m", 0, 0, 0)
child = os.fork()
for i in range(1, 50):
    client.log_metric(run, "m", i, i, i if child else -i)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code, uri, run], env=environment(), check=True, timeout=120)
    steps = {m.step for m in machine("look").tracking.get_metric_history(run, "m")}
    assert steps == set(range(-49, 50))


def test_killed_publication_is_completed_by_next_process(uri, cache, machine) -> None:
    machine("writer").tracking.create_experiment("cards")
    points = [1, 2, 3, 4, 5, 6, 8, 10, 12]
    spec = {"uri": uri, "writer": str(cache("writer")), "reader": str(cache("reader")), "points": points}
    script = str(CROWD.with_name("kill.py"))
    done = subprocess.run(
        [sys.executable, script, json.dumps(spec)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["point"] for line in lines] == points, done.stderr
    killed = [line["point"] for line in lines if line["code"] == -signal.SIGKILL]
    assert len(killed) >= 7, lines
    for line in lines:
        assert line["codes"] == [0, 0, 0], done.stderr  # no reader saw an incomplete run
        assert line["after"] == {f"killed at {p}": [p] for p in points if p <= line["point"]}
        assert line["before"].items() <= line["after"].items()


def test_damaged_working_copy_is_set_aside(uri, machine, caplog) -> None:
    a = machine("a")
    run = a.tracking.create_run(a.tracking.create_experiment("cards"), "ash", 0, [], "run").info.run_id
    a.flush()
    file: Path = a.copy.file
    code = """
import sys
from mlflow import MlflowClient
print(MlflowClient(sys.argv[1]).get_run(sys.argv[2]).info.run_name)
"""
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
    file.write_bytes(b"no database at all" * 1000)
    done = subprocess.run(
        [sys.executable, "-c", code, uri, run], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "run\n", done.stderr
    assert "is damaged" in done.stderr
    assert list(file.parent.glob("*.damaged-*"))
