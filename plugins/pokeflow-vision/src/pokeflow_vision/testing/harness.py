"""Harness of a target under test: it resolves the configuration, creates inputs, runs backends and keeps results."""

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
from pokeflow.digest import content, digest_params
from pokeflow.engine import error_message, executors
from pokeflow.errors import PokeflowError
from pokeflow.flow import Flow, Step
from pokeflow.stages import PREPARE
from pokeflow.store import list_files
from pokeflow.types import Backend, Input, NoParams, Record, Result, Task
from pokeflow_vision.testing import data as cards
from pokeflow_vision.testing import network
from pokeflow_vision.testing.violations import NotApplicableError

if TYPE_CHECKING:
    from pokeflow_vision.dataset import Dataset

CONF = Path(__file__).parent / "conf"
CHOSEN = (
    *("lineage=conformance", "data=none", "tracking=none", "registry=none", "cloud=none", "layout=plain"),
    *("--config-dir", str(CONF)),
)
COMPILE, BENCHMARK = "compile:compiled", "benchmark:compiled"


@dataclasses.dataclass(frozen=True, slots=True)
class TaskOutcome:
    """Outcome of a backend's run: its task with the output folder, and its result or the exception that ended it."""

    task: Task
    result: Result | None
    error: Exception | None = None

    @property
    def folder(self) -> Path:
        """Output folder of the task."""
        return self.task.output


class TargetHarness:
    """One target with its results so far, each computed once, because most checks use the same compiled model."""

    def __init__(self, target: str, overrides: Sequence[str], root: Path) -> None:
        self.target, self.overrides, self.root = target, tuple(overrides), root
        self._counts: dict[str, int] = {}
        self.separate_outcome: tuple[TaskOutcome, list[str]] | None = None

    @cached_property
    def composition(self) -> dict[str, Any]:
        """Configuration of the conformance lineage for this target; raises a ConfigError if the YAML has a fault."""
        return omegaconf.to_plain(composition.compose_config([f"target={self.target}", *CHOSEN, *self.overrides]))

    def resolve_flow(self, data: Mapping[str, Any]) -> Flow:
        """Return the flow of a configuration; raise a ConfigError if it has a fault."""
        registry = plugins.registry(plugins.manager())
        backends = {**registry.backends, (DRAWN.stage, DRAWN.name): DRAWN}
        return resolve(data, plugins.Registry(backends, registry.executors))

    @cached_property
    def flow_or_error(self) -> Flow | PokeflowError:
        """Flow of the configuration, or the error with its faults."""
        try:
            return self.resolve_flow(self.composition)
        except PokeflowError as error:
            return error

    @property
    def flow(self) -> Flow:
        """Resolved lineage; raises a NotApplicableError if it has faults."""
        if isinstance(self.flow_or_error, PokeflowError):
            raise NotApplicableError(f"target={self.target} does not resolve: {self.flow_or_error}")
        return self.flow_or_error

    def step(self, name: str) -> Step:
        """Return a task of the resolved target."""
        return self.flow.step(name)

    def work(self, name: str) -> Mapping[str, Any]:
        """Return a section of the target's YAML, such as ``package``; empty if it does not exist."""
        return (self.flow and self.composition["target"].get(name)) or {}

    @cached_property
    def data(self) -> "Dataset":
        """Data set of drawn cards."""
        return cards.draw_dataset()

    @cached_property
    def data_input(self) -> Input:
        """Input that holds the data set."""
        return self.input(PREPARE, "dataset", lambda folder: cards.write(folder, self.data))

    @cached_property
    def student(self) -> Input:
        """Input that holds the float32 network."""
        return self.input("train", "student", network.write)

    @cached_property
    def input_checksums(self) -> dict[Path, str]:
        """Checksums of the inputs' files, taken before any backend reads them."""
        return sums(self.data_input.folder, self.student.folder)

    def input(self, stage: str, type: str, fill: Callable[[Path], None]) -> Input:
        """Create an input as a finished task leaves it; ``fill`` writes its files into a folder."""
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
        return self.as_input(TaskOutcome(task, Result()))

    def folder(self, name: str) -> Path:
        """Create a new folder and return it."""
        self._counts[name] = count = self._counts.get(name, 0) + 1
        folder = self.root / f"{name}-{count}"
        folder.mkdir(parents=True)
        return folder

    def task(self, name: str, inputs: Sequence[Input], work: Path | None = None) -> Task:
        """Create a task of the target with an empty output folder, and a new work folder if ``work`` is None."""
        step = self.step(name)
        folder = self.folder(step.stage)
        if work is None:
            work = folder / "work"
            work.mkdir()
        output = folder / "output"
        output.mkdir()
        return step.task(tuple(inputs), work, output)

    def run(self, task: Task) -> TaskOutcome:
        """Run the backend on a task in this process, and keep an exception as part of the outcome."""
        backend = self.step(task.name).backend
        assert self.input_checksums
        try:
            result = backend(task)
        except Exception as error:  # noqa: BLE001 - a backend may raise anything; a check looks at it
            return TaskOutcome(task, None, error)
        return TaskOutcome(task, Result(result) if isinstance(result, Mapping) else result)

    def run_apart(self, task: Task, cwd: Path, temporary: Path) -> TaskOutcome:
        """Run a task by the executor ``process``, with a current folder and a folder for temporary files."""
        with chdir(cwd), _environment(TMPDIR=str(temporary), PYTHONPATH=python_path()):
            try:
                return TaskOutcome(task, executors.run_in_process(task, self.step(task.name).backend, None))
            except PokeflowError as error:
                return TaskOutcome(task, None, error)

    def compiling(self) -> Task:
        """Create a task that compiles the network, with its inputs."""
        return self.task(COMPILE, (self.student, self.data_input))

    @cached_property
    def compilation(self) -> TaskOutcome:
        """Outcome of the first compilation, successful or not."""
        return self.run(self.compiling())

    @property
    def compiled_model(self) -> TaskOutcome:
        """Compiled model; raises a NotApplicableError if the network does not compile."""
        return _require_success(self.compilation, "the network does not compile")

    @cached_property
    def measurement(self) -> TaskOutcome:
        """Outcome of the first benchmark, successful or not."""
        return self.run(self.task(BENCHMARK, (self.as_input(self.compiled_model), self.data_input)))

    @property
    def benchmark_result(self) -> TaskOutcome:
        """Benchmark of the compiled model; raises a NotApplicableError if it failed."""
        return _require_success(self.measurement, "the compiled model cannot be benchmarked")

    def run_section(self, name: str) -> TaskOutcome:
        """Run another section of the target's YAML, such as ``profile``, on the compiled model.

        Raises:
            NotApplicableError: The section is missing or names no backend.

        """
        task = f"{name}:compiled"
        if not self.work(name).get("backend"):
            raise NotApplicableError(f"the target's YAML has no backend for {name}")
        return self.run(self.task(task, (self.as_input(self.compiled_model), self.data_input, self.student)))

    def as_input(self, outcome: TaskOutcome) -> Input:
        """Return an outcome as an input of a following task."""
        return Input(_record(outcome), outcome.folder)


def _train(task: Task) -> Result:
    network.write(task.output)
    return Result()


DRAWN = Backend("drawn", "train", _train, NoParams)


def _require_success(outcome: TaskOutcome, failure: str) -> TaskOutcome:
    if outcome.error is not None:
        raise NotApplicableError(f"{failure}: {error_message(outcome.error)}")
    return outcome


def _record(outcome: TaskOutcome) -> Record:
    task, result, files = outcome.task, outcome.result or Result(), list_files(outcome.folder)
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    task_fields = {name: getattr(task, name) for name in ("stage", "backend", "model", "version", "type", "digest")}
    result_fields = {name: getattr(result, name) for name in ("metrics", "facts", "reasons")}
    file_fields = {
        "files": files,
        "content": content(files),
        "inputs": {i.record.task: i.record.content for i in task.inputs},
    }
    other_fields = {
        "task": task.name,
        "params": digest_params(task.params),
        "environment": {},
        "seconds": 0.0,
        "cost_usd": None,
    }
    return Record(**{**values, **task_fields, **result_fields, **file_fields, **other_fields})


def sums(*folders: Path) -> dict[Path, str]:
    """Return every file of the folders with its sha256."""
    return {folder / file.path: file.sha256 for folder in folders for file in list_files(folder)}


def python_path() -> str:
    """Return this process's import path for a child process, since a plugin under test need not be installed."""
    return os.pathsep.join(filter(None, sys.path))


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    previous = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
