"""What is to be done: the lineage's models as tasks, each with its digest, in an order that works."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.digest import decisive, digest
from pokeflow.errors import Fault
from pokeflow.stages import DATA, PREPARE
from pokeflow.types import About, Backend, Budget, Input, Leaf, Shared, Task, call_plugin, task_path


@dataclass(frozen=True, slots=True)
class Step:
    """One task before it has folders: what is done, to which model, from what, where.

    ``needs`` are task names; ``on`` is the executor's name and ``place`` its parameters for this task.
    """

    stage: str
    backend: Backend
    model: str
    version: str
    type: str
    params: Any
    needs: tuple[str, ...]
    on: str
    place: Any = None
    fingerprint: str | None = None
    digest: str = ""

    @property
    def name(self) -> str:
        """As people call it: ``distill:resnet-small``."""
        return f"{self.stage}:{self.model}"

    @property
    def path(self) -> str:
        """The folder below any store that its result lies in, once it is made."""
        return task_path(self.stage, self.model, self.digest)

    def task(
        self,
        inputs: tuple[Input, ...],
        work: Path,
        output: Path,
        *,
        shared: Shared | None = None,
        replaces: str | None = None,
    ) -> Task:
        """Return the task that makes this step from finished inputs, in these folders.

        ``shared`` is the bucket that has the inputs and takes the result, if there is one; ``replaces`` says when the
        record was started whose place the new one takes.
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
            shared=shared,
            fingerprint=self.fingerprint,
            replaces=replaces,
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A backend that serves the project instead of making a model, with its parameters: tracking, for one."""

    backend: Backend
    params: Any


@dataclass(frozen=True, slots=True)
class Sweep:
    """The trial that a flow is of a sweep: the sweep's id (its folder's name), the trial's number and overrides."""

    id: str
    trial: int
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """A resolved configuration as plain data: nothing is left to look up, nothing is open, and it can be pickled.

    ``steps`` come after all that they need; ``parents`` gives each model's parents, the first one its lineage
    parent; ``root`` is this machine's folder and ``shared`` the bucket where results are shared, if there is one, over
    so many ``connections`` at once; ``tree`` is where below it the project is published, and ``leaves`` what belongs
    there; ``cloud`` are the parameters of the commands that work there, by command; ``budget`` is what a
    run may cost; ``force`` holds model names to redo; ``command`` is what a person types to run this again,
    ``config`` the composed configuration as it was given, and ``sweep`` the trial that this is, if it is one: these
    are told of a task, and decide nothing.
    """

    project: str
    steps: tuple[Step, ...]
    parents: Mapping[str, tuple[str, ...]]
    root: Path
    executors: Mapping[str, Any] = field(default_factory=dict)
    shared: Shared | None = None
    connections: int = 16
    tree: str = "project"
    leaves: tuple[Leaf, ...] = ()
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
    _makers: dict[str, Step] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.steps:
            self._by_name[step.name] = step
            self._makers.setdefault(step.model, step)  # the maker comes before all that needs it

    def step(self, name: str) -> Step:
        """The step of this name."""
        return self._by_name[name]

    def maker(self, model: str) -> Step:
        """The step that makes a model, or the data set."""
        return self._makers[model]


def order(steps: Mapping[str, Step], faults: list[Fault]) -> tuple[Step, ...]:
    """Sort steps so that each comes after what it needs, and give each its digest. A cycle is a fault."""
    try:
        names = list(TopologicalSorter({s.name: s.needs for s in steps.values()}).static_order())
    except CycleError as error:
        chain = " → ".join(name.partition(":")[2] for name in error.args[1])
        faults.append(Fault("lineage.models", f"parents form a cycle: {chain}."))
        return ()
    done: dict[str, Step] = {}
    for name in names:
        done[name] = with_digest(steps[name], done)
    return tuple(done.values())


def described(step: Step) -> dict[str, Any]:
    """A step as plain data, for a backend that is told of the whole flow."""
    names = ("name", "stage", "model", "version", "type", "digest", "needs", "on", "fingerprint")
    return {
        **{name: getattr(step, name) for name in names},
        "backend": step.backend.name,
        "params": msgspec.to_builtins(step.params),
        "place": msgspec.to_builtins(step.place),
    }


def with_digest(step: Step, done: Mapping[str, Step]) -> Step:
    """The step with the digest that follows from its parameters and from what it needs."""
    backend = step.backend
    fingerprint = backend.fingerprint_of(step.params)
    parts = [
        step.stage,
        step.type,
        backend.name,
        backend.revision,
        call_plugin(f"the parameters of {step.name}", decisive, step.params),
        fingerprint,
        [step.model, step.version] if backend.named else None,
        # A backend may tell its inputs apart by their type.
        [[done[need].type, done[need].digest] for need in step.needs],
    ]
    return replace(step, fingerprint=fingerprint, digest=call_plugin(f"the digest of {step.name}", digest, parts))


def select(steps: tuple[Step, ...], models: Collection[str] | None, stages: Collection[str] | None) -> tuple[Step, ...]:
    """The steps asked for by model and by stage (None: all), and everything that these need."""
    by_name = {s.name: s for s in steps}
    wanted = [
        s.name
        for s in steps
        if (models is None or s.model in models) and (stages is None or s.stage in stages) and s.stage != PREPARE
    ]
    if models is not None and DATA in models and f"{PREPARE}:{DATA}" in by_name:
        wanted.append(f"{PREPARE}:{DATA}")
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted.extend(by_name[name].needs)
    return tuple(s for s in steps if s.name in needed)
