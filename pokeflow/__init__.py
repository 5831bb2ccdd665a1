"""pokeflow: YAML says what to make, plugins make it, records say how it was made.

import pokeflow

flow = pokeflow.load(["data=synthetic", "stages=[train]"])
for planned in pokeflow.plan(flow):
    print(planned.step.name, planned.why)
result = pokeflow.run(flow)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pokeflow.errors import ConfigError, Fault, PokeflowError, TaskError, Unavailable
from pokeflow.hookspecs import hookimpl
from pokeflow.types import Backend, Bill, Command, Executor, File, Input, NoParams, Record, Result, Shared, Task

if TYPE_CHECKING:
    from pokeflow.engine import Planned, Report
    from pokeflow.flow import Flow
    from pokeflow.store import Store

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
    "hookimpl",
    "load",
    "open_store",
    "plan",
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
