"""Running: a configuration that has nothing left to run is answered at once, everything else goes through Hydra."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
import pluggy
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from pokeflow import plugins
from pokeflow.cli import _tables as tables
from pokeflow.cli import sweep
from pokeflow.cli.sweep import SINCE
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve
from pokeflow.engine import _runner as runner
from pokeflow.engine import now, told
from pokeflow.errors import WAITING, PokeflowError, TaskError
from pokeflow.flow import Flow, Sweep
from pokeflow.project import check_published

log = logging.getLogger("pokeflow")
errors: list[Exception] = []
"""What a single run ended in: kept here since Hydra would wrap it on its way up."""


def main(args: Sequence[str]) -> int:
    """Run the lineage once, or once a trial; 0, 1 where a trial failed, or 3 where one waits for what is not here."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing: our errors say where and what to do
    os.environ.setdefault(SINCE, now())
    if _is_plain(args) and _nothing_to_run(args):
        return 0
    omegaconf.register_search_path()
    sys.argv[1:] = composition.overrides(args)
    try:
        with composition.faults():
            hydra.main(version_base="1.3", config_path=str(omegaconf.conf_dir()), config_name="config")(job)()
    except PokeflowError:
        raise
    except Exception as error:  # `job` keeps its own: this is Hydra's, or a launcher's
        again = "What is done is kept; the same command goes on from here."
        raise PokeflowError(f"Hydra ended with {type(error).__name__}: {error}\n{again}") from error
    if errors:
        raise errors[0]
    return int(bool(sweep.failed)) or (WAITING if sweep.waiting else 0)


def _is_plain(args: Sequence[str]) -> bool:
    """Whether the arguments are values and options alone: Hydra's flags and settings are for Hydra to follow."""
    own = ("--config-dir", "-cd")  # composition alone follows these as Hydra does
    return not any(arg.startswith(("-", "hydra")) and arg.partition("=")[0] not in own for arg in args)


def _nothing_to_run(args: Sequence[str]) -> bool:
    """Whether all is made; if so it is reported. No folder is made for a run of nothing, or for one full of faults."""
    cfg, mode = composition.composed_with_mode(args)
    if mode == RunMode.MULTIRUN:
        return False
    pm = plugins.manager()
    registry = plugins.registry(pm)
    flow = resolve(omegaconf.plain(cfg), registry)
    check_published(flow)
    if not all(planned.record for planned in runner.plan(flow, os.environ[SINCE])):
        return False
    outcome = runner.run(flow, registry, pm.hook, os.environ[SINCE])
    print(tables.models(flow, outcome.records))  # noqa: T201
    print(tables.count(outcome), file=sys.stderr)  # noqa: T201
    _publish(flow, outcome)
    return True


def _publish(flow: Flow, outcome: runner.Report) -> None:
    """Publish what was made, if the configuration says so."""
    if flow.publish:
        from pokeflow.project import publish

        print("\n" + tables.publication(flow, publish(flow, outcome.records)))  # noqa: T201


def job(cfg: DictConfig) -> float | None:
    """Run one composed configuration; returns the objective, NaN for a trial without one that failed or waits."""
    hydra_cfg = HydraConfig.get()
    trial = hydra_cfg.mode == RunMode.MULTIRUN
    mine = [override.lstrip("+") for override in hydra_cfg.overrides.task]
    failure: Exception | None = None
    value, ran = None, 0
    name = sweep.name_of(hydra_cfg.sweep.dir) if trial else ""
    try:
        pm = plugins.manager()
        registry = plugins.registry(pm)
        sweep_of = Sweep(name, hydra_cfg.job.num, tuple(mine)) if trial else None
        flow = resolve(omegaconf.plain(cfg), registry, sweep=sweep_of, command=shlex.join(["pokeflow", *mine]))
        check_published(flow)
        outcome, failure = _outcome(flow, registry, pm.hook)
        value, ran = runner.objective(flow, outcome), len(outcome.ran)
        if not trial:
            print(tables.models(flow, outcome.records))  # noqa: T201
        if not trial and not failure:
            log.info("%s", tables.count(outcome))
        _publish(flow, outcome)
    except Exception as error:  # noqa: BLE001 - raised again in `main`; in a trial, told in the table
        failure, ran = error, len(getattr(error, "ran", ()))
    if not trial:
        errors.extend(filter(None, [failure]))
        return value
    text, waits = told(failure) if failure else None, getattr(failure, "exit_code", None) == WAITING
    ended = sweep.Trial(hydra_cfg.job.num, mine, value, ran, text, waits)
    sweep.write(Path(hydra_cfg.runtime.output_dir), ended, name, sweep.place(cfg))
    return sweep.FAILED if failure and not (waits and value is not None) else value


def _outcome(flow: Flow, registry: plugins.Registry, hook: pluggy.HookRelay) -> tuple[runner.Report, TaskError | None]:
    """What a run left; and the error that says which tasks wait for what is not here, where nothing else went wrong."""
    try:
        return runner.run(flow, registry, hook, os.environ[SINCE]), None
    except TaskError as error:
        if error.exit_code != WAITING:
            raise
        return runner.Report(error.records, error.ran), error
