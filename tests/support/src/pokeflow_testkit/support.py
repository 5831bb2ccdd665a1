"""The toy flow and the command line, for tests of the core."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import engine, plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.flow import Flow, Step, order, select
from pokeflow.types import NoParams, Record
from pokeflow_testkit import TOY
from pokeflow_toy import Toy

POKEFLOW = str(Path(sys.executable).with_name("pokeflow"))

TOY_FLOW = ("lineage=toy", "data=none", "target=toy", "tracking=none", "cloud=none")
"""Overrides for a flow of the toy plugin: teacher → student → tiny, benchmarked and registered."""

unicode_names = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8", reason="this locale has no such file names; make test sets one that has"
)

Cli = Callable[..., subprocess.CompletedProcess[str]]


def environment(**more: str) -> dict[str, str]:
    """Return the variables for a command: without the developer's own settings, and with the toy plugin."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("POKEFLOW")}
    return {**kept, "PYTHONPATH": str(TOY), "PYTHONUNBUFFERED": "1", **more}


def toy_flow(root: Path, *overrides: str) -> Flow:
    """Load the toy lineage with its store at ``root``."""
    cfg = composition.compose_config([*TOY_FLOW, f"store.root={root}", *overrides])
    return resolve(omegaconf.to_plain(cfg), plugins.registry(plugins.manager()))


@dataclass(frozen=True)
class ToyModel:
    """A model of a lineage that is built without configuration, by the toy plugin."""

    type: str
    stage: str
    parents: tuple[str, ...] = ()
    version: str = "v1.0"
    params: Toy = field(default_factory=Toy)

    def changed(self, **changes: Any) -> "ToyModel":
        """Return this model with other values of its fields or of its parameters."""
        own = {name: value for name, value in changes.items() if name in {each.name for each in fields(self)}}
        params = {name: value for name, value in changes.items() if name not in own}
        return replace(self, **own, params=replace(own.get("params", self.params), **params))


TOY_MODELS = {
    "teacher": ToyModel("teacher", "train"),
    "student": ToyModel("student", "distill", ("teacher",)),
    "tiny": ToyModel("optimized", "compile", ("student",), "v2.1", Toy(lr=0.01)),
}
"""The models of ``lineage=toy``."""
THEN = {"benchmark": Toy(metric="latency_p50_ms"), "register": Toy()}
"""Post-stages of each model in that lineage."""


def build_flow(
    root: Path,
    models: Mapping[str, ToyModel],
    then: Mapping[str, Toy] = THEN,
    *,
    on: str = "local",
    only: Collection[str] | None = None,
    stages: Collection[str] | None = None,
    force: Collection[str] = (),
    **changes: Any,
) -> Flow:
    """Build a flow of toy models without configuration, equal to the configured one."""
    backends = plugins.registry(plugins.manager()).backends
    steps: dict[str, Step] = {}

    def add(stage: str, name: str, params: Toy, needs: tuple[str, ...]) -> str:
        model = models[name]
        step = Step(stage, backends[stage, "toy"], name, model.version, model.type, params, needs, on, NoParams())
        steps[step.name] = step
        return step.name

    for name, model in models.items():
        before = [add(model.stage, name, model.params, tuple(f"{models[p].stage}:{p}" for p in model.parents))]
        for stage, params in then.items():
            before.append(add(stage, name, params, tuple(before)))
    chosen = select(order(steps, []), only, stages)
    parents = {name: model.parents for name, model in models.items()}
    return Flow("toy", chosen, parents, root, {on: NoParams()}, force=frozenset(force), **changes)


def run_flow(flow: Flow) -> Mapping[str, Record]:
    """Run a flow in this process without checking published versions; return the records by task."""
    pm, since = plugins.manager(), engine.now()
    return engine.run(flow, plugins.registry(pm), pm.hook, since, engine.plan(flow, since)).records


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor time of a call, the minimum of three; compare it only with other calls."""

    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(once() for _ in range(3))


def require_linear(small: Callable[[], object], tenfold: Callable[[], object]) -> None:
    """Fail if ten times the work takes far more than ten times as long; quadratic work takes a hundred times."""
    assert seconds_of(tenfold) < 40 * seconds_of(small) + 0.1


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder by relative path, without those in ``.pokeflow``."""
    files = (file for file in folder.rglob("*") if file.is_file() and ".pokeflow" not in file.parts)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Return a function that runs ``pokeflow`` as a user does, in an empty folder that also holds the store."""

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [POKEFLOW, *args]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(**more), capture_output=True, text=True, timeout=300, check=False
        )

    return run
