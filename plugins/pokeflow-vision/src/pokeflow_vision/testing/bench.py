"""The workbench of a target under test: its configuration resolved, its inputs made, its backends run and kept."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import plugins
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.digest import content, decisive
from pokeflow.engine import executors, told
from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow, Step
from pokeflow.stages import PREPARE
from pokeflow.store import list_files
from pokeflow.types import Backend, Input, NoParams, Record, Result, Task
from pokeflow_vision.testing import data as cards
from pokeflow_vision.testing import network
from pokeflow_vision.testing.breach import NotChecked

if TYPE_CHECKING:
    from pokeflow_vision.dataset import Dataset

CONF = Path(__file__).parent / "conf"
CHOSEN = (
    *("lineage=conformance", "data=none", "tracking=none", "registry=none", "cloud=none", "layout=plain"),
    *("--config-dir", str(CONF)),
)
COMPILE, BENCHMARK = "compile:compiled", "benchmark:compiled"


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """What a backend left in a folder: its answer, or the error that it ended in."""

    task: Task
    result: Result | None
    error: Exception | None = None

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.task.output


class Bench:
    """One target and what was made with it so far, each thing once: most checks look at the same compiled model."""

    def __init__(self, target: str, overrides: Sequence[str], root: Path) -> None:
        self.target, self.overrides, self.root = target, tuple(overrides), root
        self._counts: dict[str, int] = {}
        self.apart: tuple[Made, list[str]] | None = None

    @cached_property
    def composed(self) -> dict[str, Any]:
        """The configuration of the conformance lineage for this target; ConfigError where YAML has a fault."""
        return omegaconf.plain(composition.composed([f"target={self.target}", *CHOSEN, *self.overrides]))

    def resolved(self, data: Mapping[str, Any]) -> Flow:
        """The flow of such a configuration; ConfigError where it has a fault."""
        found = plugins.registry(plugins.manager())
        backends = {**found.backends, (DRAWN.stage, DRAWN.name): DRAWN}
        return resolve(data, plugins.Registry(backends, found.executors))

    @cached_property
    def configured(self) -> Flow | PokeflowError:
        """The flow of the configuration, or its faults."""
        try:
            return self.resolved(self.composed)
        except PokeflowError as error:
            return error

    @property
    def flow(self) -> Flow:
        """The resolved lineage; NotChecked where it has faults."""
        if isinstance(self.configured, PokeflowError):
            raise NotChecked(f"target={self.target} does not resolve: {self.configured}")
        return self.configured

    def step(self, name: str) -> Step:
        """A task of the target as it is resolved."""
        return self.flow.step(name)

    def work(self, name: str) -> Mapping[str, Any]:
        """A work of the target's YAML, ``package`` for one; empty where it has none."""
        return (self.flow and self.composed["target"].get(name)) or {}

    @cached_property
    def data(self) -> "Dataset":
        """The drawn data set."""
        return cards.drawn()

    @cached_property
    def prepared(self) -> Input:
        """The data set's folder."""
        return self.input(PREPARE, "dataset", lambda folder: cards.write(folder, self.data))

    @cached_property
    def student(self) -> Input:
        """The float32 network's folder."""
        return self.input("train", "student", network.write)

    @cached_property
    def given(self) -> dict[Path, str]:
        """The inputs' files and their checksums, as they were before any backend saw them."""
        return sums(self.prepared.folder, self.student.folder)

    def input(self, stage: str, type: str, fill: Callable[[Path], None]) -> Input:
        """An input as a finished task leaves it, filled by ``fill``."""
        folder = self.folder(stage)
        fill(folder)
        task = Task(
            stage=stage,
            backend="drawn",
            model="small",
            version="v1.0",
            type=type,
            digest="",
            params=NoParams(),
            inputs=(),
            work=folder,
            output=folder,
        )
        return self.finished(Made(task, Result()))

    def folder(self, name: str) -> Path:
        """A new folder."""
        self._counts[name] = count = self._counts.get(name, 0) + 1
        folder = self.root / f"{name}-{count}"
        folder.mkdir(parents=True)
        return folder

    def task(self, name: str, inputs: Sequence[Input], work: Path | None = None) -> Task:
        """A task of the target with these inputs, an empty output, and a new work folder if none is given."""
        step = self.step(name)
        place = self.folder(step.stage)
        if work is None:
            work = place / "work"
            work.mkdir()
        output = place / "output"
        output.mkdir()
        return step.task(tuple(inputs), work, output)

    def run(self, task: Task) -> Made:
        """Have the backend do a task in this process."""
        backend = self.step(task.name).backend
        assert self.given
        try:
            answer = backend(task)
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; a check looks at it
            return Made(task, None, error)
        return Made(task, Result(answer) if isinstance(answer, Mapping) else answer)

    def run_apart(self, task: Task, cwd: Path, temporary: Path) -> Made:
        """Have it done by the executor ``process``, in a current folder and with a place for temporary files."""
        with chdir(cwd), _environment(TMPDIR=str(temporary), PYTHONPATH=python_path()):
            try:
                return Made(task, executors.run_in_process(task, self.step(task.name).backend, None))
            except PokeflowError as error:
                return Made(task, None, error)

    def compiling(self) -> Task:
        """A task that compiles the network with all that it needs."""
        return self.task(COMPILE, (self.student, self.prepared))

    @cached_property
    def compilation(self) -> Made:
        """The first compilation, however it ended."""
        return self.run(self.compiling())

    @property
    def compiled(self) -> Made:
        """The compiled model; NotChecked where there is none."""
        return _done(self.compilation, "the network does not compile")

    @cached_property
    def measurement(self) -> Made:
        """The first benchmark, however it ended."""
        return self.run(self.task(BENCHMARK, (self.finished(self.compiled), self.prepared)))

    @property
    def benchmarked(self) -> Made:
        """The benchmark of the compiled model; NotChecked where there is none."""
        return _done(self.measurement, "the compiled model cannot be benchmarked")

    def also(self, name: str) -> Made:
        """What another work of the target's YAML makes of the compiled model; NotChecked where it has none."""
        task = f"{name}:compiled"
        if not self.work(name).get("backend"):
            raise NotChecked(f"the target's YAML names no {name}")
        return self.run(self.task(task, (self.finished(self.compiled), self.prepared, self.student)))

    def finished(self, made: Made) -> Input:
        """What was made, as an input of what follows."""
        return Input(_record(made), made.folder)


def _train(task: Task) -> Result:
    network.write(task.output)
    return Result()


DRAWN = Backend("drawn", "train", _train, NoParams)


def _done(made: Made, what: str) -> Made:
    if made.error is not None:
        raise NotChecked(f"{what}: {told(made.error)}")
    return made


def _record(made: Made) -> Record:
    task, result, files = made.task, made.result or Result(), list_files(made.folder)
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    named = {name: getattr(task, name) for name in ("stage", "backend", "model", "version", "type", "digest")}
    found = {name: getattr(result, name) for name in ("metrics", "facts", "reasons")}
    lies = {"files": files, "content": content(files), "inputs": {i.record.task: i.record.content for i in task.inputs}}
    plain = {"task": task.name, "params": decisive(task.params), "environment": {}, "seconds": 0.0, "cost_usd": None}
    return Record(**{**values, **named, **found, **lies, **plain})


def sums(*folders: Path) -> dict[Path, str]:
    """Every file of some folders, with its checksum."""
    return {folder / file.path: file.sha256 for folder in folders for file in list_files(folder)}


def python_path() -> str:
    """What this process imports from, for another one: a plugin under test need not be installed for good."""
    return os.pathsep.join(filter(None, sys.path))


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
