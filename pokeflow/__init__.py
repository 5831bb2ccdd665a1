"""pokeflow: YAML says what to make, plugins make it, records say how it was made.

import pokeflow

flow = pokeflow.load(["data=synthetic", "stages=[train]"])
for planned in pokeflow.plan(flow):
    print(planned.step.name, planned.why)
result = pokeflow.run(flow)
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pokeflow.errors import ConfigError, Fault, PokeflowError, TaskError, Unavailable
from pokeflow.hookspecs import hookimpl
from pokeflow.types import (
    Backend,
    Bill,
    Budget,
    Command,
    Executor,
    File,
    Input,
    NoParams,
    Record,
    Result,
    Shared,
    Task,
)

if TYPE_CHECKING:
    from pokeflow.engine import Planned, Report
    from pokeflow.flow import Flow
    from pokeflow.objects import Objects
    from pokeflow.project._publish import Published
    from pokeflow.store import Claim, Store

__version__ = "0.1.0"
__all__ = [
    "Backend",
    "Bill",
    "Command",
    "ConfigError",
    "Executor",
    "Fault",
    "File",
    "Input",
    "NoParams",
    "PokeflowError",
    "Record",
    "Result",
    "Shared",
    "Task",
    "TaskError",
    "Unavailable",
    "dump_task",
    "hookimpl",
    "lease",
    "load",
    "load_record",
    "open_store",
    "plan",
    "publish",
    "publish_facts",
    "require_budget",
    "run",
]


def load(overrides: Sequence[str] = ()) -> "Flow":
    """Compose a configuration and check it.

    Args:
        overrides: what the command line takes: ``KEY=VALUE`` and ``--config-dir DIR``.

    Returns:
        The flow: the tasks of the lineage in order, each with its digest, as plain data.

    Raises:
        ConfigError: with every fault of the configuration.

    """
    from pokeflow.config import load as load_flow

    return load_flow(overrides)


def plan(flow: "Flow") -> "tuple[Planned, ...]":
    """Tell for each task of a flow whether it is reused or made, and why; nothing is touched."""
    from pokeflow import engine

    return tuple(engine.plan(flow, engine.now()))


def run(flow: "Flow") -> "Report":
    """Run a flow: reuse what is made, make what is missing.

    Raises:
        ConfigError: where the budget does not allow it; nothing has run.
        TaskError: where tasks failed or wait for what is not here; what is done is kept.

    """
    from pokeflow import engine, plugins

    manager = plugins.manager()
    return engine.run(flow, plugins.registry(manager), manager.hook, engine.now())


def open_store(of: "Flow | Sequence[str]") -> "Store":
    """Open the store of finished tasks: records by task, and the folders of their files.

    Args:
        of: a flow, or overrides that name a store; the rest of the configuration need not be whole for these.

    Raises:
        ConfigError: with every fault of the configuration's store.

    """
    from pokeflow import store
    from pokeflow.flow import Flow

    if isinstance(of, Flow):
        return store.of(of)
    from pokeflow.config import load_store

    return load_store(of)


def publish(flow: "Flow", records: "Mapping[str, Record]") -> "Published":
    """Put finished tasks, by name, into the project's tree and update its metadata; what is there is not sent again.

    Raises:
        ConfigError: where a published version would change; nothing was written.

    """
    from pokeflow.project._publish import publish as publish_records

    return publish_records(flow, records)


def publish_facts(flow: "Flow", unit: str, facts: "Mapping[str, Any]") -> None:
    """Publish facts of the whole project, such as its id in the cloud; its metadata takes them from there.

    Args:
        flow: the configuration, which says where the tree is.
        unit: the name that the facts are kept under; the facts of the same unit are replaced.
        facts: plain data.

    """
    from pokeflow.project._facts import publish_facts as publish_project_facts

    publish_project_facts(flow, unit, facts)


def dump_task(task: Task) -> bytes:
    """Return a task as the file that ``python -m pokeflow.engine.job`` takes, for an executor that starts jobs."""
    from pokeflow.engine import job

    return job.dump(task)


def load_record(objects: "Objects", path: str) -> Record | None:
    """Return the record of the finished task that lies at a path of a bucket (``Record.path``); None if none is."""
    from pokeflow import store

    return store.load(objects, path)


def lease(objects: "Objects", key: str, what: str) -> "AbstractContextManager[Claim]":
    """Hold a lease in a bucket for one process among all machines; wait, and say so, while another holds it."""
    from pokeflow import store

    return store.held(objects, key, what)


def require_budget(budget: Budget, at_most: Mapping[str, float | None], what: str) -> None:
    """Do nothing where a budget allows what is about to start.

    Args:
        budget: US dollars for a task, and for all of them.
        at_most: what each task costs at most, by name; None: nobody knows.
        what: what is about to start, for the message.

    Raises:
        ConfigError: with the figures, where the budget does not allow it.

    """
    from pokeflow import engine

    engine.require_at_most(budget, at_most, what)
