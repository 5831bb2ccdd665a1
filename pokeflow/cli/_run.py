"""Running: a configuration that has nothing left to run is answered at once, another one runs as a job of Hydra's."""

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
from pokeflow.engine import Planned, RunResult
from pokeflow.errors import WAITING, TaskError
from pokeflow.flow import Flow

log = logging.getLogger("pokeflow")
_ASKING = {
    *("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc", "--version"),
    *("--resolve", "--package", "-p", "--experimental-rerun"),
}
"""Flags that Hydra itself answers: they run nothing, or what an earlier run left."""


def main(args: Sequence[str]) -> int:
    """Run the lineage once, or once a trial; 0, 1 where a trial failed, or 3 where one waits for what is not here."""
    since = engine.now()
    if any(arg.partition("=")[0] in _ASKING for arg in args):
        return _let_hydra_answer(args, since)
    arguments = composition.parse_arguments(args, run=True)
    if arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
        return sweep.run(arguments, since)
    composed = composition.compose(arguments)
    if composed.multirun:
        return sweep.run(arguments, since)
    return _run(composed, shlex.join(["pokeflow", *args]), since)


def _run(composed: composition.Composition, command: str, since: str) -> int:
    """Run one composed configuration. No folder is made for a run of nothing, or for one full of faults."""
    flow = resolve(omegaconf.plain(composed.config), plugins.registry(plugins.manager()), command=command)
    planned = pokeflow.plan(flow, since=since)
    if all(item.record for item in planned):
        result = pokeflow.run(flow, since=since, planned=planned, publish=False)
        print(tables.models(flow, result.records))  # noqa: T201
        print(tables.count(result), file=sys.stderr)  # noqa: T201
        _publish(flow, result)
    else:
        hydra_job.run(composed.config, composed.loader, lambda: _job(flow, since, planned))
    return 0


def _job(flow: Flow, since: str, planned: Sequence[Planned] | None = None) -> float | None:
    """Run a flow and print what it left; the objective that it reached."""
    waiting = None
    try:
        result = pokeflow.run(flow, since=since, planned=planned, publish=False)
    except TaskError as error:
        if error.exit_code != WAITING:
            raise
        result, waiting = RunResult(flow, error.records, error.ran), error
    print(tables.models(flow, result.records))  # noqa: T201
    if waiting is None:
        log.info("%s", tables.count(result))
    _publish(flow, result)
    if waiting:
        raise waiting
    return result.objective


def _publish(flow: Flow, result: RunResult) -> None:
    """Publish what was made, if the configuration says so."""
    if flow.publish:
        from pokeflow.project import publish

        print("\n" + tables.publication(flow, publish(flow, result.records)))  # noqa: T201


def _let_hydra_answer(args: Sequence[str], since: str) -> int:
    """Have Hydra answer flags that ask it something, or repeat a run that it kept the configuration of."""
    import hydra

    failures: list[Exception] = []

    def job(config: DictConfig) -> float | None:
        try:
            return _job(resolve(omegaconf.plain(config), plugins.registry(plugins.manager())), since)
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
    """Give Hydra's own entry point its arguments, which it takes from the process alone."""
    before, sys.argv = sys.argv, [sys.argv[0], *args]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing: our errors say where and what to do
    try:
        yield
    finally:
        sys.argv = before
