"""Public Python API of pokeflow: load a configuration, plan it, run it, publish it and read the results.

    import pokeflow

    flow = pokeflow.load(["data=synthetic", "stages=[train]"])
    for planned in pokeflow.plan(flow):
        print(planned.step.name, planned.why or "reused")
    result = pokeflow.run(flow)
    for figure in result.figures():
        print(figure.model, figure.metric, figure.value)

The command line uses these functions too. They work in a notebook and in any thread: errors are exceptions, progress
is logged to the logger ``pokeflow``; the current folder, signal handlers and Hydra's global state are not changed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pokeflow.errors import EXIT_UNAVAILABLE, ConfigError, Fault, PokeflowError, TaskError, UnavailableError
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
    RemoteStore,
    Result,
    Task,
    load_function,
)

if TYPE_CHECKING:
    import os

    from pokeflow.engine import PlannedStep, RunResult
    from pokeflow.engine import require_at_most as require_budget
    from pokeflow.engine.job import dump as dump_task
    from pokeflow.flow import Flow
    from pokeflow.project import publish, publish_facts
    from pokeflow.store import Store
    from pokeflow.store import hold_lease as hold_lease
    from pokeflow.store import load as load_record

__version__ = "0.1.0"
__all__ = [
    "Backend", "Bill", "Command", "ConfigError", "Executor", "Fault", "File", "Input", "NoParams",
    "PokeflowError", "Record", "RemoteStore", "Result", "Task", "TaskError", "UnavailableError", "dump_task",
    "hold_lease", "hookimpl", "load", "load_record", "open_store", "plan", "publish", "publish_facts",
    "require_budget", "run",
]  # fmt: skip


def load(overrides: Sequence[str] = (), *, config_dir: "str | os.PathLike[str] | None" = None) -> "Flow":
    """Compose a configuration and validate it.

    Args:
        overrides: ``KEY=VALUE`` words as on the command line. As there, YAML is read from the folder ``conf`` of the
            current folder if it has a folder ``lineage``, else from the configuration shipped with pokeflow.
        config_dir: A folder with more options of the configuration's groups, as ``--config-dir``.

    Returns:
        The flow as plain data that can be compared and pickled: the tasks of the lineage in order, each with its
        digest.

    Raises:
        ConfigError: With all faults of the configuration.

    """
    from pokeflow import config

    return config.load(overrides, config_dir=config_dir)


def plan(flow: "Flow", *, since: str | None = None) -> "tuple[PlannedStep, ...]":
    """Decide for each task of a flow whether it is reused or must run, and why; nothing is written.

    Args:
        flow: A flow that ``load`` returned.
        since: Start of the run that the plan is for, in UTC as records write it; by default the present time. The
            result of a forced task is reused if the task started after it.

    Raises:
        ConfigError: If a run would change published artifacts.

    """
    from pokeflow import engine
    from pokeflow.project import check_published

    planned = tuple(engine.plan(flow, since or engine.now()))
    check_published(flow)
    return planned


def run(
    flow: "Flow",
    *,
    since: str | None = None,
    planned: "Sequence[PlannedStep] | None" = None,
    publish: bool | None = None,
) -> "RunResult":
    """Run a flow: reuse finished tasks, run missing ones, and publish the results if the configuration says so.

    Args:
        flow: A flow that ``load`` returned.
        since: As for ``plan``.
        planned: The flow's plan, if it was computed already with the same ``since``.
        publish: True to publish the results; by default the configuration decides.

    Returns:
        The records by task, the names of the tasks that ran, and access to figures and folders.

    Raises:
        ConfigError: If the run exceeds the budget, or would change published artifacts; nothing has run.
        TaskError: If tasks failed or need something unavailable. ``records`` of the error holds all finished tasks.

    """
    from pokeflow import engine, plugins

    since = since or engine.now()
    planned = plan(flow, since=since) if planned is None else planned
    publish = flow.publish if publish is None else publish
    manager, unavailable = plugins.manager(), None
    try:
        result = engine.run(flow, plugins.registry(manager), manager.hook, since, planned)
    except TaskError as error:
        if error.exit_code != EXIT_UNAVAILABLE:
            raise
        result, unavailable = engine.RunResult(flow, error.records, error.ran), error
    if publish:
        from pokeflow.project import publish as publish_records

        publish_records(flow, result.records)
    if unavailable:
        raise unavailable
    return result


def open_store(of: "Flow | Sequence[str]") -> "Store":
    """Open the store of finished tasks: their records, and the folders of their files.

    Args:
        of: A flow, or overrides that name a store; with these, values in the other groups may be invalid.

    Raises:
        ConfigError: With all faults of the configuration's store.

    """
    from pokeflow import store
    from pokeflow.flow import Flow

    if isinstance(of, Flow):
        return store.open_for_flow(of)
    from pokeflow.config import load_store

    return load_store(of)


_FOR_PLUGINS = {
    "dump_task": "pokeflow.engine.job:dump",
    "hold_lease": "pokeflow.store:hold_lease",
    "load_record": "pokeflow.store:load",
    "publish": "pokeflow.project:publish",
    "publish_facts": "pokeflow.project:publish_facts",
    "require_budget": "pokeflow.engine:require_at_most",
}
"""Functions that executors and commands of plugins need, imported only when they are accessed."""


def __getattr__(name: str) -> Any:
    if name in _FOR_PLUGINS:
        return load_function(_FOR_PLUGINS[name])
    raise AttributeError(f"module 'pokeflow' has no attribute {name!r}")
