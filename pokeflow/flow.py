"""The flow to run: the lineage's models as tasks, each with its digest, in topological order."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.digest import digest, digest_params
from pokeflow.errors import Fault
from pokeflow.stages import DATA, PREPARE
from pokeflow.types import About, Backend, Budget, Input, LayoutEntry, RemoteStore, Task, call_plugin, task_path


@dataclass(frozen=True, slots=True)
class Step:
    """A task of the flow that has no folders yet: stage, backend, model, the tasks that it needs, and its executor.

    ``needs`` are task names; ``executor`` is the executor's name and ``executor_params`` its parameters for this task.
    """

    stage: str
    backend: Backend
    model: str
    version: str
    type: str
    params: Any
    needs: tuple[str, ...]
    executor: str
    executor_params: Any = None
    fingerprint: str | None = None
    digest: str = ""

    @property
    def name(self) -> str:
        """Readable name of the step, such as ``distill:resnet-small``."""
        return f"{self.stage}:{self.model}"

    @property
    def path(self) -> str:
        """Folder of the step's result, relative to the root of any store."""
        return task_path(self.stage, self.model, self.digest)

    def task(
        self,
        inputs: tuple[Input, ...],
        work: Path,
        output: Path,
        *,
        remote_store: RemoteStore | None = None,
        replaces: str | None = None,
    ) -> Task:
        """Return the task that runs this step on finished inputs, in these folders.

        ``remote_store`` is the bucket that holds the inputs and receives the result, if there is one; ``replaces`` is
        the start time of the record that the new one replaces.
        """
        return Task(
            stage=self.stage,
            backend=self.backend.name,
            model=self.model,
            version=self.version,
            type=self.type,
            digest=self.digest,
            params=self.params,
            inputs=inputs,
            work=work,
            output=output,
            remote_store=remote_store,
            fingerprint=self.fingerprint,
            replaces=replaces,
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A backend that serves the whole project instead of producing a model, such as tracking, with its parameters."""

    backend: Backend
    params: Any


@dataclass(frozen=True, slots=True)
class Sweep:
    """Trial of a sweep that a flow belongs to: the sweep's id (its folder's name), the trial's number and overrides."""

    id: str
    trial: int
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """A resolved configuration as plain data, without unresolved names or open handles, so that it can be pickled.

    ``steps`` are in topological order. ``parents`` maps each model to its parents; the first one is its lineage
    parent. ``root`` is this machine's store folder; ``remote_store`` is the bucket for shared results, if any, used
    over so many ``connections`` at once. ``tree`` is the path in the store to which the project is published, and
    ``leaves`` are the layout entries of this tree. ``cloud`` holds the parameters of commands that work in the cloud,
    by command. ``budget`` limits the cost of a run. ``force`` holds the names of models to redo. ``command`` (the
    command line that repeats this run), ``config`` (the composed configuration) and ``sweep`` (the trial, if this is
    one) only document a task; they do not influence its result.
    """

    project: str
    steps: tuple[Step, ...]
    parents: Mapping[str, tuple[str, ...]]
    root: Path
    executors: Mapping[str, Any] = field(default_factory=dict)
    remote_store: RemoteStore | None = None
    connections: int = 16
    tree: str = "project"
    leaves: tuple[LayoutEntry, ...] = ()
    about: About = field(default_factory=lambda: About(""))
    tracking: Service | None = None
    cloud: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    objective: str | None = None
    publish: bool = False
    force: frozenset[str] = frozenset()
    command: str = "pokeflow"
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sweep: Sweep | None = None

    _by_name: dict[str, Step] = field(init=False, repr=False, compare=False, default_factory=dict)
    _producers: dict[str, Step] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.steps:
            self._by_name[step.name] = step
            self._producers.setdefault(step.model, step)  # the producing step precedes all that need it

    def step(self, name: str) -> Step:
        """Return the step with this name."""
        return self._by_name[name]

    def producer(self, model: str) -> Step:
        """Return the step that produces a model, or the data set."""
        return self._producers[model]


def order(steps: Mapping[str, Step], faults: list[Fault]) -> tuple[Step, ...]:
    """Return the steps in topological order, each with its digest; for a cycle add a fault and return ()."""
    try:
        names = list(TopologicalSorter({s.name: s.needs for s in steps.values()}).static_order())
    except CycleError as error:
        chain = " → ".join(name.partition(":")[2] for name in error.args[1])
        faults.append(Fault("lineage.models", f"parents form a cycle: {chain}. Remove one of these parents."))
        return ()
    done: dict[str, Step] = {}
    for name in names:
        done[name] = with_digest(steps[name], done)
    return tuple(done.values())


def step_to_dict(step: Step) -> dict[str, Any]:
    """Return a step as plain data, for a backend that receives all tasks of the flow."""
    names = ("name", "stage", "model", "version", "type", "digest", "needs", "fingerprint")
    return {
        **{name: getattr(step, name) for name in names},
        "backend": step.backend.name,
        "executor": step.executor,
        "params": msgspec.to_builtins(step.params),
        "executor_params": msgspec.to_builtins(step.executor_params),
    }


def with_digest(step: Step, done: Mapping[str, Step]) -> Step:
    """Return the step with its digest, computed from its stage, backend, parameters and the steps that it needs."""
    backend = step.backend
    fingerprint = backend.fingerprint_of(step.params)
    parts = [
        step.stage,
        step.type,
        backend.name,
        backend.revision,
        call_plugin(f"the parameters of {step.name}", digest_params, step.params),
        fingerprint,
        [step.model, step.version] if backend.identity_in_digest else None,
        # A backend may distinguish its inputs by their type.
        [[done[need].type, done[need].digest] for need in step.needs],
    ]
    return replace(step, fingerprint=fingerprint, digest=call_plugin(f"the digest of {step.name}", digest, parts))


def select(steps: tuple[Step, ...], models: Collection[str] | None, stages: Collection[str] | None) -> tuple[Step, ...]:
    """Return the steps selected by model and by stage (None: all), and everything that these need."""
    by_name = {s.name: s for s in steps}
    pending = [
        s.name
        for s in steps
        if (models is None or s.model in models) and (stages is None or s.stage in stages) and s.stage != PREPARE
    ]
    if models is not None and DATA in models and f"{PREPARE}:{DATA}" in by_name:
        pending.append(f"{PREPARE}:{DATA}")
    needed: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(by_name[name].needs)
    return tuple(s for s in steps if s.name in needed)
