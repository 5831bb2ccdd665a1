"""The toy flow and the command line, for tests of the core."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pokeflow import plugins
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve
from pokeflow.engine import _runner as runner
from pokeflow.flow import Flow
from pokeflow.types import Record

TOY = Path(__file__).parent / "toy"
POKEFLOW = str(Path(sys.executable).with_name("pokeflow"))

TOY_FLOW = ("lineage=toy", "data=none", "target=toy", "tracking=none", "cloud=none")
"""Overrides that make a flow of the toy plugin alone: teacher → student → tiny, benchmarked and registered."""

unicode_names = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8", reason="this locale has no such file names; make test sets one that has"
)

Cli = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """The variables a command runs with: nothing of the developer's own, and the toy plugin in sight."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("POKEFLOW")}
    return {**kept, "PYTHONPATH": str(TOY), "PYTHONUNBUFFERED": "1", **more}


def toy_flow(root: Path, *overrides: str) -> Flow:
    """The toy lineage with its store at ``root``."""
    cfg = composition.composed([*TOY_FLOW, f"store.root={root}", *overrides])
    return resolve(omegaconf.plain(cfg), plugins.registry(plugins.manager()))


def run_flow(flow: Flow) -> Mapping[str, Record]:
    """Run a flow in this process; the records by task."""
    pm = plugins.manager()
    return runner.run(flow, plugins.registry(pm), pm.hook, runner.now()).records


def seconds_of(work: Callable[[], object]) -> float:
    """Processor time of a call, the least of three; to be compared with that of another call, for machines differ."""

    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(once() for _ in range(3))


def require_linear(small: Callable[[], object], tenfold: Callable[[], object]) -> None:
    """Fail where ten times as much takes far more than ten times as long: a hundred times, were it quadratic."""
    assert seconds_of(tenfold) < 40 * seconds_of(small) + 0.1


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there; what a folder keeps for itself is left out."""
    files = (file for file in folder.rglob("*") if file.is_file() and ".pokeflow" not in file.parts)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``pokeflow`` as a user does, in an empty folder; the store lies in it."""

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [POKEFLOW, *args]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(**more), capture_output=True, text=True, timeout=300, check=False
        )

    return run
