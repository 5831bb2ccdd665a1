"""A forked child and its parent both publish their data, whichever of them ends first."""

import os
import sqlite3
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long]

FORKED = """
import os, sys, threading, time
from mlflow import MlflowClient
uri, run, way = sys.argv[1:]
client = MlflowClient(uri)
client.log_metric(run, "m", 0, 0, 0)
stop = threading.Event()
def busy():
    while not stop.is_set():
        client.log_metric(run, "beside", 0, 0, 0)
thread = threading.Thread(target=busy)  # the fork may happen while another thread writes
thread.start()
time.sleep(0.1)
parent, child = os.getpid(), os.fork()
if child:
    stop.set()
    thread.join()
    client.log_metric(run, "m", 1, 1, 1)
    if way == "parent outlives":
        assert os.waitpid(child, 0)[1] == 0
    sys.exit(0)
client.log_metric(run, "m", 2, 2, 2)
while way == "child outlives" and os.getppid() == parent:
    time.sleep(0.05)
for i in range(3, 50):
    client.log_metric(run, "m", i, i, i)
print("the child is done", flush=True)
sys.exit(0)
"""


@pytest.mark.parametrize("way", ["parent outlives", "child outlives"])
def test_data_of_parent_and_child_are_published(uri, machine, way) -> None:
    a = machine("a")
    run = a.tracking.create_run(a.tracking.create_experiment("cards"), "ash", 0, [], "run").info.run_id
    a.flush()
    a.copy.close()  # no other process has the file open
    a.tracking.engine.dispose()
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_S3_STORE_FLUSH_SECONDS": "3600"}
    command = [sys.executable, "-c", FORKED, uri, run, way]
    # This returns when both have ended, because both hold the pipe.
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    assert "the child is done" in done.stdout, done.stderr
    with sqlite3.connect(a.copy.file) as database:
        assert database.execute("SELECT COUNT(*) FROM metrics WHERE key = 'm'").fetchone() == (50,)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    history = machine("look").tracking.get_metric_history(run, "m")
    assert {m.step for m in history} == set(range(50))  # both published at exit
