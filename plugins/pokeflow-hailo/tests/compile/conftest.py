"""A flow whose compiler is the double, and one compilation shared by tests that only read it."""

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pokeflow_hailo as plugin
from pokeflow import Result, Task

from ..compile_flow import Flow, wrapper


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes such an interpreter to the test's folder."""
    return functools.partial(wrapper, tmp_path)


@pytest.fixture
def flow(tmp_path: Path, interpreter: Callable[..., str]) -> Flow:
    return Flow(tmp_path, interpreter())


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, backend: Any) -> tuple[Task, Result]:
    """Run one successful compilation, shared by tests that only read it."""
    folder = tmp_path_factory.mktemp("done")
    task = Flow(folder, wrapper(folder)).task()
    return task, backend(task)


@pytest.fixture
def compiled(done: tuple[Task, Result], flow: Flow) -> Flow:
    """Return a flow whose first attempt was ``done``: its work folder holds the files that outlive attempts."""
    shutil.copytree(done[0].work, flow.root / "work")
    return flow


@pytest.fixture(scope="session")
def backend() -> Any:
    """Return the plugin's backend of stage compile."""
    return next(backend for backend in plugin.pokeflow_backends() if backend.stage == "compile")


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Return a function that checks whether a process has ended."""

    def ended(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True

    return ended
