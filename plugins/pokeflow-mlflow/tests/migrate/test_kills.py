"""A migration that was killed at any moment is completed by the same command; nothing is there twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pokeflow_testkit import mlruns
from pokeflow_testkit.mlruns import Bring

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from mlflow import MlflowClient
from pokeflow_mlflow.migrate.migration import Migration

source, uri, work, moment, after, where = sys.argv[1:7]
calls = 0
real = getattr(MlflowClient, moment)
def dying(self, *args, **more):
    global calls
    calls += 1
    if calls == int(after) and where == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = real(self, *args, **more)
    if calls == int(after):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
setattr(MlflowClient, moment, dying)
work = Path(work)
work.mkdir(parents=True)
Migration(source, uri, Path("/")).run(work)
"""


def killed(source: Path, uri: str, work: Path, moment: str, after: int, where: str) -> None:
    command = [sys.executable, "-c", KILLED, str(source), uri, str(work), moment, str(after), where]
    ran = subprocess.run(command, capture_output=True, timeout=200, env=os.environ, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()[-2000:]


MOMENTS = [
    ("create_experiment", 2, "after"), ("create_run", 2, "before"), ("create_run", 2, "after"),
    ("create_logged_model", 1, "after"), ("log_batch", 4, "after"), ("log_artifact", 2, "before"),
    ("log_model_artifact", 1, "after"), ("finalize_logged_model", 1, "before"), ("set_terminated", 1, "before"),
    ("set_tag", 1, "before"), ("set_logged_model_tags", 1, "before"), ("create_registered_model", 1, "after"),
    ("create_model_version", 2, "after"), ("set_registered_model_alias", 1, "after"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("moment", "after", "where"), MOMENTS)
def test_the_same_command_completes_what_a_kill_left(
    tmp_path: Path,
    old_runs: Path,
    old_contents: dict[str, Any],
    uri: str,
    moment: str,
    after: int,
    where: str,
    bring: Bring,
) -> None:
    killed(old_runs, uri, tmp_path / "killed", moment, after, where)
    assert mlruns.elsewhere("read", uri) != old_contents
    told = bring(str(old_runs), uri)
    assert told["problems"] == []
    assert all(old == new for old, new in told["counts"].values())
    assert mlruns.read(uri) == old_contents


@pytest.mark.slow
def test_a_file_that_a_kill_tore_is_written_anew(
    tmp_path: Path, old_runs: Path, old_contents: dict[str, Any], uri: str, database: Path, bring: Bring
) -> None:
    killed(old_runs, uri, tmp_path / "killed", "log_artifact", 2, "after")
    for file in (database.parent / "mlartifacts").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            # The one as short as a torn copy, the other of full size and other bytes.
            file.write_bytes(data[: len(data) // 2] if file.name == "weights.bin" else bytes(len(data)))
    assert bring(str(old_runs), uri)["problems"] == []
    assert mlruns.read(uri) == old_contents
