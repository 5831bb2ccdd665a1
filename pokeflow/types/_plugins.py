"""What a plugin brings, what it is given, and what it returns: backends, executors, commands, document kinds."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pokeflow.errors import PokeflowError, was_stopped
from pokeflow.types._records import Input, Record, Shared, task_path


@dataclass(frozen=True, slots=True)
class Task:
    """All that a backend is told: what to read, where to write, and its parameters.

    ``output`` is empty at the start; what lies in it at the end is the result.
    ``work`` outlives a kill: checkpoints go there, and a second attempt finds them.
    ``version`` may show in the result only where the backend is ``named``. ``shared`` is the bucket that has the
    inputs and takes the result, if there is one; ``fingerprint`` is the backend's, of these parameters, and
    ``replaces`` says when the record was started that this result takes the place of, both for whoever makes it
    elsewhere.
    """

    stage: str
    backend: str
    model: str
    version: str
    type: str
    digest: str
    params: Any
    inputs: tuple[Input, ...]
    work: Path
    output: Path
    shared: Shared | None = None
    fingerprint: str | None = None
    replaces: str | None = None

    @classmethod
    def about(
        cls,
        record: Record,
        backend: "Backend",
        params: Any,
        *,
        inputs: tuple[Input, ...],
        work: Path,
        output: Path,
        shared: Shared | None = None,
    ) -> "Task":
        """Return a task of a backend that looks at what another task left, and whose own result is no record.

        The model, version, type and digest are those of ``record``: tracking and other services are told of these.
        """
        return cls(
            stage=backend.stage,
            backend=backend.name,
            model=record.model,
            version=record.version,
            type=record.type,
            digest=record.digest,
            params=params,
            inputs=inputs,
            work=work,
            output=output,
            shared=shared,
        )

    @property
    def name(self) -> str:
        """How people call it: ``distill:resnet-small``."""
        return f"{self.stage}:{self.model}"

    @property
    def path(self) -> str:
        """The folder below any store that its result lies in, once it is made."""
        return task_path(self.stage, self.model, self.digest)

    def input(self, *, stage: str | None = None, type: str | None = None) -> Input:
        """The first input made by this stage, or that is a model of this type; LookupError if there is none."""
        for item in self.inputs:
            if stage in (None, item.record.stage) and type in (None, item.record.type):
                return item
        have = ", ".join(f"{i.record.task} ({i.record.type})" for i in self.inputs) or "none"
        wanted = " ".join(filter(None, (f"stage {stage!r}" if stage else "", f"type {type!r}" if type else "")))
        raise LookupError(f"{self.name} needs an input of {wanted}; its inputs are: {have}")


@dataclass(frozen=True, slots=True)
class Result:
    """What a backend returns: figures, other facts, and a reason for every figure that is unknown (None)."""

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def load_function(where: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the function at ``package.module:function``, importing its module; a function is returned as it is."""
    if not isinstance(where, str):
        return where
    module, _, name = where.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def call_plugin(what: str, function: str | Callable[..., Any], *args: Any) -> Any:
    """Call a function that a plugin named; PokeflowError with ``what`` it is where it fails or is not there."""
    try:
        return load_function(function)(*args)
    except PokeflowError:
        raise
    except (Exception, SystemExit) as error:  # a plugin may fail in any way; whoever reads this must know which one did
        if was_stopped(error):
            raise  # on its way out, by request
        raise PokeflowError(f"{what} failed: {type(error).__name__}: {error}") from error


def load_params(maker: "Backend | Executor | Command") -> type:
    """Return the dataclass of what a backend, executor or command takes, importing its module."""
    what = f"params {maker.params!r} of {_name_of(maker)}"
    params: Any = call_plugin(what, load_function, maker.params)
    if not isinstance(params, type) or not is_dataclass(params):
        raise PokeflowError(f"{what}: a dataclass is expected.")
    return params


def _name_of(maker: "Backend | Executor | Command") -> str:
    return f"{type(maker).__name__.lower()} {maker.name!r}"


def _faults_of(maker: "Backend | Executor | Command", params: Any) -> list[tuple[str, str]]:
    def check() -> list[tuple[str, str]]:
        return [(key, message) for key, message in load_function(maker.check)(params)] if maker.check else []

    found: list[tuple[str, str]] = call_plugin(f"the check of {_name_of(maker)}", check)
    return found


@dataclass(frozen=True, slots=True)
class Backend:
    """Plugin code that does one stage one way, under a name that YAML can give.

    ``run`` fills ``task.output`` and returns its figures; given as ``"package.module:function"`` it is imported when
    a task runs, so that asking a plugin what it brings loads nothing heavy. ``params`` is a dataclass, or
    ``"package.module:Name"`` of one: the typed form of the YAML's ``params``; all of it goes into the digest but
    fields with ``metadata={"digest": False}``, which change no result. Raise ``revision``, part of the digest too,
    when the same input would give another output. ``check`` finds faults that types cannot show, as (parameter, what
    is wrong) pairs, before anything runs. ``fingerprint`` names the content of what ``params`` point to outside the
    store. ``named`` backends write the model's name and version into their result, so these join the digest. What an
    ``aside`` one leaves is for people: no stage that follows in ``then`` needs it.
    """

    name: str
    stage: str
    run: str | Callable[[Task], "Result | Mapping[str, float]"]
    params: str | type
    revision: str = "1"
    check: str | Callable[[Any], Iterable[tuple[str, str]]] | None = None
    fingerprint: str | Callable[[Any], str] | None = None
    named: bool = False
    aside: bool = False

    def __call__(self, task: Task) -> "Result | Mapping[str, float]":
        """Run a task and return its figures."""
        answer: Result | Mapping[str, float] = load_function(self.run)(task)
        return answer

    @property
    def package(self) -> str:
        """The top-level package that ``run`` lies in."""
        module = self.run.partition(":")[0] if isinstance(self.run, str) else self.run.__module__
        return module.partition(".")[0]

    def faults(self, params: Any) -> list[tuple[str, str]]:
        """Return what ``check`` finds wrong with parameters, as (parameter, what is wrong) pairs."""
        return _faults_of(self, params)

    def fingerprint_of(self, params: Any) -> str | None:
        """Return the ``fingerprint`` of what parameters point to outside the store; None where there is none."""
        what = f"the fingerprint of {_name_of(self)}"
        return str(call_plugin(what, self.fingerprint, params)) if self.fingerprint else None


@dataclass(frozen=True, slots=True)
class NoParams:
    """The parameters of what takes none."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a task's machine cost in US dollars, None with the ``reason``; ``environment`` tells of that machine."""

    cost_usd: float | None
    reason: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Executor:
    """Plugin code that carries a task to a machine, has its backend run there, and brings the result back.

    ``run`` takes the task, its backend and the executor's parameters. ``price`` turns parameters and seconds into
    US dollars, None where no price is known; without it nobody sends a bill for this machine. ``limit`` is the
    seconds that a task may take at most there. ``check`` finds faults as a backend's does. All of them may be given
    as ``"package.module:function"``, imported when they are asked.

    A ``remote`` one shares only the bucket with this machine: no input lies in its folder here, ``run`` returns None,
    and the job leaves the record in the bucket (``python -m pokeflow.engine.job``).
    ``bill`` tells what a finished record's job cost, None while nobody knows; it is asked again the next time the
    record is met.
    """

    name: str
    run: str | Callable[[Task, Backend, Any], Result | None]
    params: str | type = NoParams
    price: str | Callable[[Any, float], float | None] | None = None
    limit: str | Callable[[Any], float] | None = None
    check: str | Callable[[Any], Iterable[tuple[str, str]]] | None = None
    remote: bool = False
    bill: str | Callable[[Record, Any], Bill | None] | None = None

    def __call__(self, task: Task, backend: Backend, params: Any) -> Result | None:
        """Run a task where this executor runs tasks; None from a remote one, whose job leaves the record."""
        result: Result | None = load_function(self.run)(task, backend, params)
        return result

    def price_of(self, params: Any, seconds: float) -> float | None:
        """Return what so many seconds cost in US dollars; None where no price is known."""
        usd = call_plugin(f"the price of {_name_of(self)}", self.price, params, seconds) if self.price else None
        return usd if isinstance(usd, int | float) and math.isfinite(usd) else None

    def limit_of(self, params: Any) -> float | None:
        """Return the seconds that a task may take at most; None where there is no limit."""
        return float(call_plugin(f"the limit of {_name_of(self)}", self.limit, params)) if self.limit else None

    def faults(self, params: Any) -> list[tuple[str, str]]:
        """Return what ``check`` finds wrong with parameters, as (parameter, what is wrong) pairs."""
        return _faults_of(self, params)

    def bill_of(self, record: Record, params: Any) -> Bill | None:
        """Return what a finished record's job cost; None while nobody knows."""
        bill: Bill | None = (
            call_plugin(f"the bill of {_name_of(self)}", self.bill, record, params) if self.bill else None
        )
        return bill


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line: ``pokeflow NAME …``, with a line of help.

    ``run`` is a function ``(arguments: argparse.Namespace, overrides: list[str]) -> int``, given as
    ``"package.module:function"`` and imported when the command is called; what it returns is the exit code.
    ``arguments`` names a function that adds the command's own arguments to an ``argparse.ArgumentParser``; overrides,
    ``--config-dir``, ``-q``, ``-v`` and ``--help`` are the same for every command. One that composes no configuration
    says ``overrides=False``: they are refused before it is called. ``params`` is a dataclass: the typed form of
    ``cloud.<name>.params``, which the command finds in ``Flow.cloud``; ``check`` finds faults as a backend's does.
    """

    name: str
    summary: str
    run: str
    arguments: str | None = None
    overrides: bool = True
    params: str | type = NoParams
    check: str | Callable[[Any], Iterable[tuple[str, str]]] | None = None

    def faults(self, params: Any) -> list[tuple[str, str]]:
        """Return what ``check`` finds wrong with parameters, as (parameter, what is wrong) pairs."""
        return _faults_of(self, params)


@dataclass(frozen=True, slots=True, eq=False)
class DocumentKind:
    """A document of the published tree that a layout can name, found as an entry point of group ``pokeflow.documents``.

    ``scope`` says what has one: the ``project``, or each published ``version``. ``build``, a function or
    ``"package.module:function"``, takes a ``pokeflow.project.Project`` or ``pokeflow.project.Version`` and returns
    the document as plain data, or as bytes where it is no JSON. ``schema`` is what the data must be true to: a JSON
    Schema, a dataclass that one is generated from, or ``"package.module:name"`` of either. ``reads`` names documents
    of the project that it is built from as they lie there; it is written after them. A ``derived`` document follows
    from receipts and from what it reads alone, so a damaged one is written anew.
    """

    name: str
    scope: Literal["project", "version"]
    build: str | Callable[[Any], Mapping[str, Any] | bytes]
    schema: str | type | Mapping[str, Any] | None = None
    derived: bool = True
    reads: tuple[str, ...] = ()

    def __call__(self, of: Any) -> Mapping[str, Any] | bytes:
        """Build the document of a project or of a version."""
        built: Mapping[str, Any] | bytes = call_plugin(f"document kind {self.name!r}", self.build, of)
        if not isinstance(built, Mapping | bytes):
            raise PokeflowError(f"document kind {self.name!r} returns {built!r:.80}; a mapping or bytes are expected.")
        return built
