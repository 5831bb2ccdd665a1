"""Run of a configuration: as a Hydra job or, if all its tasks are finished, without one."""

import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig

import pokeflow
from pokeflow import engine, plugins
from pokeflow.cli import _hydra_job as hydra_job
from pokeflow.cli import _tables as tables
from pokeflow.cli import sweep
from pokeflow.config import composition, omegaconf
from pokeflow.config.resolver import resolve
from pokeflow.engine import PlannedStep, RunResult
from pokeflow.errors import EXIT_UNAVAILABLE, TaskError
from pokeflow.flow import Flow

log = logging.getLogger("pokeflow")
_QUERY_FLAGS = {
    *("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc", "--version"),
    *("--resolve", "--package", "-p", "--experimental-rerun"),
}
"""Flags that Hydra itself handles: they run nothing, or repeat an earlier run."""


def main(args: Sequence[str]) -> int:
    """Run the lineage once or once per trial; return 0, 1 if a trial failed, or 3 if one needs something missing."""
    since = engine.now()
    if any(arg.partition("=")[0] in _QUERY_FLAGS for arg in args):
        return _delegate_to_hydra(args, since)
    arguments = composition.parse_arguments(args, run=True)
    if arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
        return sweep.run(arguments, since)
    composed = composition.compose(arguments)
    if composed.multirun:
        return sweep.run(arguments, since)
    return _run(composed, shlex.join(["pokeflow", *args]), since)


def _run(composed: composition.Composition, command: str, since: str) -> int:
    """Run one composed configuration; no folder is created if it has faults or if nothing has to run."""
    flow = resolve(omegaconf.to_plain(composed.config), plugins.registry(plugins.manager()), command=command)
    planned = pokeflow.plan(flow, since=since)
    if all(item.record for item in planned):
        result = pokeflow.run(flow, since=since, planned=planned, publish=False)
        print(tables.models(flow, result.records))
        print(tables.count(result), file=sys.stderr)
        _publish(flow, result)
    else:
        hydra_job.run(composed.config, composed.loader, lambda: _job(flow, since, planned))
    return 0


def _job(flow: Flow, since: str, planned: Sequence[PlannedStep] | None = None) -> float | None:
    """Run a flow, print its results and return its objective."""
    unavailable = None
    try:
        result = pokeflow.run(flow, since=since, planned=planned, publish=False)
    except TaskError as error:
        if error.exit_code != EXIT_UNAVAILABLE:
            raise
        result, unavailable = RunResult(flow, error.records, error.ran), error
    print(tables.models(flow, result.records))
    if unavailable is None:
        log.info("%s", tables.count(result))
    _publish(flow, result)
    if unavailable:
        raise unavailable
    return result.objective


def _publish(flow: Flow, result: RunResult) -> None:
    """Publish the results, if the configuration says so."""
    if flow.publish:
        from pokeflow.project import publish

        print("\n" + tables.publication(flow, publish(flow, result.records)))


def _delegate_to_hydra(args: Sequence[str], since: str) -> int:
    """Let Hydra handle flags that query it, or repeat a run whose configuration it saved."""
    import hydra

    failures: list[Exception] = []

    def job(config: DictConfig) -> float | None:
        try:
            return _job(resolve(omegaconf.to_plain(config), plugins.registry(plugins.manager())), since)
        except Exception as error:  # noqa: BLE001 - raised again below: Hydra would print it and wrap it
            failures.append(error)
            return None

    words = composition.hydra_arguments(args)
    main_of_hydra: Any = hydra.main(version_base="1.3", config_path=str(omegaconf.conf_dir()), config_name="config")
    with hydra_job.faults(), omegaconf.plugin_configs(), _arguments(words), composition.faults():
        main_of_hydra(job)()
    if failures:
        raise failures[0]
    return 0


@contextmanager
def _arguments(args: Sequence[str]) -> Iterator[None]:
    """Set the process's arguments within this context: Hydra's own entry point reads them only from there."""
    before, sys.argv = sys.argv, [sys.argv[0], *args]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise instead of printing: pokeflow's errors say where and what to do
    try:
        yield
    finally:
        sys.argv = before
