"""Plugin interface: backends, executors, commands and document kinds, with their tasks and results."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pokeflow.errors import PokeflowError, was_stopped
from pokeflow.types._records import Input, Record, RemoteStore, task_path


@dataclass(frozen=True, slots=True)
class Task:
    """Input of a backend: the finished tasks to read, the folders to write to, and the parameters.

    ``output`` is empty at the start; its files at the end are the result.
    ``work`` survives a kill: write checkpoints there, and a second attempt can resume from them.
    ``version`` may appear in the result only of a backend with ``identity_in_digest``. ``remote_store`` is the bucket
    that holds the inputs and receives the result, or None. Remote jobs need two more fields: ``fingerprint`` is the
    backend's for these parameters, and ``replaces`` is the start time of the record that this result replaces.
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
    remote_store: RemoteStore | None = None
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
        remote_store: RemoteStore | None = None,
    ) -> "Task":
        """Return a task for a backend that reads another task's result and produces no record of its own.

        Model, version, type and digest are those of ``record``: tracking and other services report these.
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
            remote_store=remote_store,
        )

    @property
    def name(self) -> str:
        """Display name of the task, such as ``distill:resnet-small``."""
        return f"{self.stage}:{self.model}"

    @property
    def path(self) -> str:
        """Folder of the task's result below any store, once it is finished."""
        return task_path(self.stage, self.model, self.digest)

    def input(self, *, stage: str | None = None, type: str | None = None) -> Input:
        """Return the first input of this stage and this model type; raise LookupError if none matches."""
        for item in self.inputs:
            if stage in (None, item.record.stage) and type in (None, item.record.type):
                return item
        have = ", ".join(f"{i.record.task} ({i.record.type})" for i in self.inputs) or "none"
        description = " ".join(filter(None, (f"stage {stage!r}" if stage else "", f"type {type!r}" if type else "")))
        raise LookupError(f"{self.name} needs an input of {description}; its inputs are: {have}")


@dataclass(frozen=True, slots=True)
class Result:
    """Return value of a backend: figures, other facts, and a reason for every unknown figure (None)."""

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def load_function(reference: str | Callable[..., Any]) -> Callable[..., Any]:
    """Return the function at ``package.module:function``, importing its module; a function is returned as it is."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def call_plugin(label: str, function: str | Callable[..., Any], *args: Any) -> Any:
    """Call a plugin's function; raise a PokeflowError that names ``label`` if it fails or cannot be imported."""
    try:
        return load_function(function)(*args)
    except PokeflowError:
        raise
    except (Exception, SystemExit) as error:  # a plugin may fail in any way; the message must say which one did
        if was_stopped(error):
            raise  # the program was asked to stop
        raise PokeflowError(f"{label} failed: {type(error).__name__}: {error}") from error


def load_params(maker: "Backend | Executor | Command") -> type:
    """Return the parameter dataclass of a backend, executor or command, importing its module."""
    label = f"params {maker.params!r} of {_name_of(maker)}"
    params: Any = call_plugin(label, load_function, maker.params)
    if not isinstance(params, type) or not is_dataclass(params):
        raise PokeflowError(f"{label} is not a dataclass.")
    return params


def _name_of(maker: "Backend | Executor | Command") -> str:
    return f"{type(maker).__name__.lower()} {maker.name!r}"


def _faults_of(maker: "Backend | Executor | Command", params: Any) -> list[tuple[str, str]]:
    def check() -> list[tuple[str, str]]:
        return [(key, message) for key, message in load_function(maker.check)(params)] if maker.check else []

    faults: list[tuple[str, str]] = call_plugin(f"the check of {_name_of(maker)}", check)
    return faults


@dataclass(frozen=True, slots=True)
class Backend:
    """One implementation of a stage by a plugin, under a name that YAML can refer to.

    ``run`` writes to ``task.output`` and returns figures; as a string ``"package.module:function"`` it is imported
    only when a task runs, so that listing a plugin's backends loads no heavy package. ``params`` is a dataclass, or
    its ``"package.module:Name"``: the typed form of the YAML's ``params``. All of it enters the digest except fields
    with ``metadata={"digest": False}``, which change no result. ``revision`` is part of the digest too: increase it
    when the same input gives another output. ``check`` returns faults that types cannot express, as (parameter,
    message) pairs, before anything runs. ``fingerprint`` identifies the content outside the store that ``params``
    refer to. ``identity_in_digest`` is for a backend that writes the model's name and version into its result. The
    result of a ``terminal`` backend is for people: no later stage in ``post_stages`` reads it.
    """

    name: str
    stage: str
    run: str | Callable[[Task], "Result | Mapping[str, float]"]
    params: str | type
    revision: str = "1"
    check: str | Callable[[Any], Iterable[tuple[str, str]]] | None = None
    fingerprint: str | Callable[[Any], str] | None = None
    identity_in_digest: bool = False
    terminal: bool = False

    def __call__(self, task: Task) -> "Result | Mapping[str, float]":
        """Run a task and return its figures."""
        result: Result | Mapping[str, float] = load_function(self.run)(task)
        return result

    @property
    def package(self) -> str:
        """Top-level package that contains ``run``."""
        module = self.run.partition(":")[0] if isinstance(self.run, str) else self.run.__module__
        return module.partition(".")[0]

    def faults(self, params: Any) -> list[tuple[str, str]]:
        """Return the faults that ``check`` finds in parameters, as (parameter, message) pairs."""
        return _faults_of(self, params)

    def fingerprint_of(self, params: Any) -> str | None:
        """Return the ``fingerprint`` of the files outside the store that parameters name; None without one."""
        label = f"the fingerprint of {_name_of(self)}"
        return str(call_plugin(label, self.fingerprint, params)) if self.fingerprint else None


@dataclass(frozen=True, slots=True)
class NoParams:
    """Empty parameters, for an executor or command that takes none."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Cost of a task's machine in US dollars, or None with a ``reason``; ``environment`` describes the machine."""

    cost_usd: float | None
    reason: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Executor:
    """Plugin code that sends a task to a machine, runs its backend there, and returns the result.

    ``run`` takes the task, its backend and the executor's parameters. ``price`` converts parameters and seconds into
    US dollars, None if the price is unknown; an executor without it is not billed. ``limit`` returns the maximum
    number of seconds for a task. ``check`` returns faults, like that of a backend. Each may be a string
    ``"package.module:function"``, which is imported when it is called.

    A ``remote`` executor shares only the bucket with this machine: inputs are not downloaded here, ``run`` returns
    None, and the job writes the record to the bucket (``python -m pokeflow.engine.job``).
    ``bill`` returns the cost of a finished record's job, or None while it is unknown; it is called again the next
    time the record is used.
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
        """Run a task on this executor's machine; return None if it is remote, as its job writes the record."""
        result: Result | None = load_function(self.run)(task, backend, params)
        return result

    def price_of(self, params: Any, seconds: float) -> float | None:
        """Return the cost of this many seconds in US dollars; None if the price is unknown."""
        usd = call_plugin(f"the price of {_name_of(self)}", self.price, params, seconds) if self.price else None
        return usd if isinstance(usd, int | float) and math.isfinite(usd) else None

    def limit_of(self, params: Any) -> float | None:
        """Return the maximum number of seconds for a task; None without a limit."""
        return float(call_plugin(f"the limit of {_name_of(self)}", self.limit, params)) if self.limit else None

    def faults(self, params: Any) -> list[tuple[str, str]]:
        """Return the faults that ``check`` finds in parameters, as (parameter, message) pairs."""
        return _faults_of(self, params)

    def bill_of(self, record: Record, params: Any) -> Bill | None:
        """Return the bill of a finished record's job; None while the cost is unknown."""
        bill: Bill | None = (
            call_plugin(f"the bill of {_name_of(self)}", self.bill, record, params) if self.bill else None
        )
        return bill


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line: ``pokeflow NAME …``, with a line of help.

    ``run`` names a function ``(arguments: argparse.Namespace, overrides: list[str]) -> int`` as
    ``"package.module:function"``; it is imported when the command is called, and returns the exit code.
    ``arguments`` names a function that adds the command's own arguments to an ``argparse.ArgumentParser``; overrides,
    ``--config-dir``, ``-q``, ``-v`` and ``--help`` are the same for every command. A command that composes no
    configuration sets ``overrides=False``: overrides are then rejected before it is called. ``params`` is the
    dataclass of ``cloud.<name>.params``, found in ``Flow.cloud``; ``check`` returns faults, like that of a backend.
    """

    name: str
    summary: str
    run: str
    arguments: str | None = None
    overrides: bool = True
    params: str | type = NoParams
    check: str | Callable[[Any], Iterable[tuple[str, str]]] | None = None

    def faults(self, params: Any) -> list[tuple[str, str]]:
        """Return the faults that ``check`` finds in parameters, as (parameter, message) pairs."""
        return _faults_of(self, params)


@dataclass(frozen=True, slots=True, eq=False)
class DocumentKind:
    """A kind of document in the published tree, registered as an entry point of the group ``pokeflow.documents``.

    ``scope`` is ``project`` for one document, or ``version`` for one per published version. ``build``, a function or
    ``"package.module:function"``, takes a ``pokeflow.project.Project`` or ``pokeflow.project.Version`` and returns
    the document as plain data, or as bytes if it is not JSON. ``schema`` validates the data: a JSON Schema, a
    dataclass from which one is generated, or the ``"package.module:name"`` of either. ``reads`` names the project's
    documents that it is built from; it is written after them. A ``derived`` document depends only on receipts and
    the documents it reads, so a damaged one is rebuilt.
    """

    name: str
    scope: Literal["project", "version"]
    build: str | Callable[[Any], Mapping[str, Any] | bytes]
    schema: str | type | Mapping[str, Any] | None = None
    derived: bool = True
    reads: tuple[str, ...] = ()

    def __call__(self, of: Any) -> Mapping[str, Any] | bytes:
        """Build the document of a project or of a version."""
        document: Mapping[str, Any] | bytes = call_plugin(f"document kind {self.name!r}", self.build, of)
        if not isinstance(document, Mapping | bytes):
            raise PokeflowError(f"document kind {self.name!r} returned {document!r:.80}; expected a mapping or bytes.")
        return document
