import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import File, Input, Record, Task
from pokeflow_mlflow.connection import connect
from pokeflow_testkit.mlruns import bring, old_contents, old_runs  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: its migrations take seconds, a copy takes none."""
    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    with connect(f"sqlite:///{file}") as connection:
        connection.client.search_experiments()
    return file


@pytest.fixture
def database(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of its own for a test, which runs in an empty folder that must stay empty."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (tmp_path / "store").mkdir()
    return Path(shutil.copy(template, tmp_path / "store" / "mlflow.db"))


@pytest.fixture
def uri(database: Path) -> str:
    return f"sqlite:///{database}"


def _record() -> Record:
    return Record(
        task="distill:efficientnet-student-stage1",
        stage="distill",
        backend="torch",
        revision="1",
        model="efficientnet-student-stage1",
        version="v1.0",
        type="student",
        digest="0123456789abcdef",
        params={"epochs": 3, "losses": {"kl": {"weight": 0.5, "temperature": 4}}, "layers": [1, 2], "note": None},
        inputs={"prepare:data": "aaaa", "train:dinov3-teacher": "bbbb"},
        metrics={"top1_accuracy": 0.875, "energy_j": None},
        facts={"architecture": "EfficientNet-Lite0", "parameters": 3_371_000, "embedding_dim": 4},
        reasons={"energy_j": "no meter on this machine"},
        files=(),
        content="cccc",
        environment={"python": "3.11.7", "project_git": "f00d" * 10, "project_git_dirty": True},
        executor="local",
        started="2026-01-10T13:00:00.000+00:00",
        finished="2026-01-10T13:01:40.000+00:00",
        seconds=99.5,
    )


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Input]:
    """Makes a finished task: its files (path to text or bytes), and changes to the usual record.

    Log, telemetry and what the store keeps lie beside the files and are none of them.
    """

    def make(files: dict[str, str | bytes] | None = None, **changes: Any) -> Input:
        folder = tmp_path / f"made-{changes.get('digest', 'x')}-{changes.get('stage', 'x')}"
        listed = []
        for path, content in (files or {}).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            if path not in ("log.txt", "shared.json") and not path.startswith("telemetry/"):
                listed.append(File(path, file.stat().st_size, "0" * 64))
        return Input(replace(_record(), files=tuple(listed), **changes), folder)

    return make


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Task]:
    """Makes the task that a stage of this plugin is given for finished ones."""

    def make(stage: str, params: Any, *inputs: Input) -> Task:
        record, output = inputs[0].record, tmp_path / f"{stage}-output"
        output.mkdir(exist_ok=True)
        return Task(
            stage, "mlflow", record.model, record.version, record.type, "d1", params, inputs, tmp_path, output
        )  # fmt: skip

    return make


@dataclass
class Served:
    """A real MLflow server on this machine that can be started, killed and started again where it was."""

    database: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, artifacts: Sequence[str] = ()) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.database}",
            "--port", str(self.port), "--workers", "1",
            *(artifacts or ("--artifacts-destination", str(self.folder / "served"))),
        ]  # fmt: skip
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        for _ in range(480):
            try:
                return urllib.request.urlopen(f"{self.address}/health", timeout=2).close()
            except OSError:
                time.sleep(0.25)
        pytest.fail((self.folder / "server.log").read_text())

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, how)
            self.process.wait(20)
            self.process = None


@pytest.fixture
def served(database: Path, tmp_path: Path) -> Iterator[Served]:
    """A server that is not started yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Served(database, tmp_path, port)
    try:
        yield server
    finally:
        server.kill(signal.SIGTERM)


@pytest.fixture
def server(served: Served) -> str:
    """The address of a real MLflow server on this machine."""
    served.start()
    return served.address
