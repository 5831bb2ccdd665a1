"""pokeflow: YAML says what to make, plugins make it, records say how it was made.

    import pokeflow

    flow = pokeflow.load(["data=synthetic", "stages=[train]"])
    for planned in pokeflow.plan(flow):
        print(planned.step.name, planned.why or "reused")
    result = pokeflow.run(flow)
    for figure in result.figures():
        print(figure.model, figure.metric, figure.value)

What the command line does goes through these functions. They work in a notebook and in any thread: errors are
exceptions, progress is logged to the logger ``pokeflow``, and neither the current folder, the signals nor Hydra's
global state are touched.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pokeflow.errors import WAITING, ConfigError, Fault, PokeflowError, TaskError, Unavailable
from pokeflow.hookspecs import hookimpl
from pokeflow.types import (
    Backend,
    Bill,
    Command,
    Executor,
    File,
    Input,
    NoParams,
    Record,
    Result,
    Shared,
    Task,
    load_function,
)

if TYPE_CHECKING:
    import os

    from pokeflow.engine import Planned, RunResult
    from pokeflow.engine import require_at_most as require_budget
    from pokeflow.engine.job import dump as dump_task
    from pokeflow.flow import Flow
    from pokeflow.project import publish, publish_facts
    from pokeflow.store import Store
    from pokeflow.store import held as lease
    from pokeflow.store import load as load_record

__version__ = "0.1.0"
__all__ = [
    "Backend", "Bill", "Command", "ConfigError", "Executor", "Fault", "File", "Input", "NoParams",
    "PokeflowError", "Record", "Result", "Shared", "Task", "TaskError", "Unavailable", "dump_task", "hookimpl",
    "lease", "load", "load_record", "open_store", "plan", "publish", "publish_facts", "require_budget", "run",
]  # fmt: skip


def load(overrides: Sequence[str] = (), *, config_dir: "str | os.PathLike[str] | None" = None) -> "Flow":
    """Compose a configuration and check it.

    Args:
        overrides: ``KEY=VALUE`` as the command line takes them. A ``conf`` folder of the current folder is composed
            from, as there; without one the configuration that comes with pokeflow.
        config_dir: a folder with more options of the configuration's groups, as ``--config-dir``.

    Returns:
        The flow as plain data that can be compared and pickled: the tasks of the lineage in order, each with its
        digest.

    Raises:
        ConfigError: with every fault of the configuration.

    """
    from pokeflow import config

    return config.load(overrides, config_dir=config_dir)


def plan(flow: "Flow", *, since: str | None = None) -> "tuple[Planned, ...]":
    """Tell for each task of a flow whether it is reused or made, and why; nothing is written.

    Args:
        flow: what ``load`` returned.
        since: when the run that this is for began, in UTC as records have it; now if it is not given. What is forced
            and was made after that is reused.

    Raises:
        ConfigError: where a run would change what is published.

    """
    from pokeflow import engine
    from pokeflow.project import check_published

    planned = tuple(engine.plan(flow, since or engine.now()))
    check_published(flow)
    return planned


def run(
    flow: "Flow", *, since: str | None = None, planned: "Sequence[Planned] | None" = None, publish: bool | None = None
) -> "RunResult":
    """Run a flow: reuse what is made, make what is missing, publish it if the configuration says so.

    Args:
        flow: what ``load`` returned.
        since: as for ``plan``.
        planned: the flow's plan, where it was made already with the same ``since``.
        publish: whether to publish what is made; what the configuration says if it is not given.

    Returns:
        The records by task, the names of those that ran, their figures and folders.

    Raises:
        ConfigError: where the budget does not allow it, or what is published would change; nothing has run.
        TaskError: where tasks failed or wait for what is not here. What is done is kept, and in its ``records``.

    """
    from pokeflow import engine, plugins

    since = since or engine.now()
    planned = plan(flow, since=since) if planned is None else planned
    publish = flow.publish if publish is None else publish
    manager, waiting = plugins.manager(), None
    try:
        result = engine.run(flow, plugins.registry(manager), manager.hook, since, planned)
    except TaskError as error:
        if error.exit_code != WAITING:
            raise
        result, waiting = engine.RunResult(flow, error.records, error.ran), error
    if publish:
        from pokeflow.project import publish as publish_records

        publish_records(flow, result.records)
    if waiting:
        raise waiting
    return result


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


_FOR_PLUGINS = {
    "dump_task": "pokeflow.engine.job:dump",
    "lease": "pokeflow.store:held",
    "load_record": "pokeflow.store:load",
    "publish": "pokeflow.project:publish",
    "publish_facts": "pokeflow.project:publish_facts",
    "require_budget": "pokeflow.engine:require_at_most",
}
"""Functions of the packages that executors and commands of plugins need, imported when they are asked for."""


def __getattr__(name: str) -> Any:
    if name in _FOR_PLUGINS:
        return load_function(_FOR_PLUGINS[name])
    raise AttributeError(f"module 'pokeflow' has no attribute {name!r}")
