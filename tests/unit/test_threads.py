"""Check that idle threads of numerical libraries sleep, unless the user chooses another policy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pokeflow.plugins import let_threads_sleep
from pokeflow_testkit.support import POKEFLOW, environment

PROBE = """
import atexit, os, pathlib
atexit.register(lambda: pathlib.Path(os.environ["POLICY"]).write_text(os.environ.get("OMP_WAIT_POLICY", "nothing")))
"""
ENTRIES = {
    "command": [POKEFLOW, "plugins"],
    "worker": [sys.executable, "-m", "pokeflow.engine.worker", "task/task.json", str(os.getpid())],
    "job": [sys.executable, "-m", "pokeflow.engine.job", "task/task.json", "--executor", "x", "--root", "store"],
}


@pytest.mark.parametrize(("own", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
@pytest.mark.parametrize("entry", ENTRIES)
def test_threads_sleep_unless_the_user_says_otherwise(entry: str, own: str | None, policy: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PROBE)
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "task.json").write_text('{"inputs": []}')
    env = environment(PYTHONPATH=str(tmp_path), POLICY=str(tmp_path / "policy"))
    env.pop("OMP_WAIT_POLICY", None)
    if own is not None:
        env["OMP_WAIT_POLICY"] = own
    subprocess.run(ENTRIES[entry], cwd=tmp_path, env=env, capture_output=True, timeout=300, check=False)
    assert (tmp_path / "policy").read_text() == policy


def test_child_processes_inherit_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    let_threads_sleep()
    code = "import os; print(os.environ['OMP_WAIT_POLICY'])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "PASSIVE\n"
