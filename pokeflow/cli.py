"""pokeflow: compose a configuration, resolve it to a flow, run it; and a few commands beside."""

import importlib
import logging
import os
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pokeflow.errors import ConfigError, PokeflowError, unknown

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMMANDS = {
    "plan": "what would run, where, what is reused, at what estimated cost",
    "recognize": "the cards most like a picture, by the newest compiled model",
    "init": "a new project folder with a configuration of its own to edit",
    "schema": "JSON Schema of the configuration, so that editors complete and check it",
    "plugins": "the installed plugins and what each brings",
    "doctor": "what this machine has, and what is missing",
}
HELP = """\
pokeflow: YAML says what to make, plugins make it, records say how it was made.

  pokeflow [KEY=VALUE …]             run the lineage; what is made already is reused
  pokeflow -m KEY=A,B [KEY=VALUE …]  sweep: one trial a combination
{commands}

KEY=VALUE picks an option of a group (data=folder) or sets a value (data.root=../cards):
{groups}
  models=[…] stages=[…]  some models or stages, and what they need    force=[…]  make again
Hydra's own flags work as well: --cfg job, --info, --multirun, --config-dir DIR, --hydra-help.
"""
SINCE = "POKEFLOW_SINCE"


def main() -> None:
    """Entry point of the command ``pokeflow``; exits 0, 1 (a task failed), 2 (bad input) or 130 (interrupted)."""
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Do what the arguments say; every foreseeable error becomes a sentence and an exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        if args and args[0] in COMMANDS:
            command = importlib.import_module(f"pokeflow.commands.{args[0]}")
            return int(command.main(args[1:]))
        if any(a in ("-h", "--help") for a in args):
            print(_help())  # noqa: T201
            return 0
        if args and "=" not in args[0] and not args[0].startswith(("-", "~", "+")):
            raise ConfigError([unknown("pokeflow", "command", args[0], COMMANDS)])
        return _run_flow(args)
    except KeyboardInterrupt:
        _tell("interrupted. What is done is kept; the same command goes on from here.")
        return 130
    except PokeflowError as error:
        _tell(str(error))
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output (head, less) has left: nothing to say, nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(message: str) -> None:
    print(f"pokeflow: {message}" if "\n" not in message else f"pokeflow:\n{message}", file=sys.stderr)  # noqa: T201


def _help() -> str:
    from pokeflow.groups import GROUPS, options

    names = [group for group in GROUPS if group != "hydra"]
    return HELP.format(
        commands="\n".join(f"  pokeflow {name:10} {text}" for name, text in COMMANDS.items()),
        groups="\n".join(f"  {group:11} {', '.join(options(group)) or '–'}" for group in names),
    )


def _run_flow(args: list[str]) -> int:
    """Let Hydra compose and call ``job``: once, or once a trial."""
    import hydra

    from pokeflow import compose, config, engine

    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise to us instead of printing: our errors say where and what to do
    os.environ.setdefault(SINCE, engine.now())  # launchers' processes inherit it
    config.register_search_path()
    sys.argv[1:] = compose.overrides(args)
    with compose.faults():
        hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name="config")(job)()
    if errors:
        raise errors[0]
    from pokeflow import sweep

    return int(bool(sweep.failed))


errors: list[PokeflowError] = []
"""What a single run ended in: kept here since Hydra would wrap it on its way up."""


def job(cfg: "DictConfig") -> float | None:
    """Run one composed configuration; returns the objective, NaN for a trial that failed."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from pokeflow import config, engine, plugins, report, sweep
    from pokeflow.resolve import resolve

    hydra_cfg = HydraConfig.get()
    trial = hydra_cfg.mode == RunMode.MULTIRUN
    mine = [override.lstrip("+") for override in hydra_cfg.overrides.task]
    failure: PokeflowError | None = None
    value, ran = None, 0
    try:
        pm = plugins.manager()
        registry = plugins.registry(pm)
        flow = resolve(config.plain(cfg), registry, trial=trial, command=shlex.join(["pokeflow", *mine]))
        outcome = engine.run(flow, registry, pm.hook, os.environ[SINCE])
        value, ran = engine.objective(flow, outcome), len(outcome.ran)
        if not trial:
            print(report.models(flow, outcome.records))  # noqa: T201
            logging.getLogger("pokeflow").info("%d of %d tasks ran, the others are reused", ran, len(outcome.records))
    except PokeflowError as error:
        failure, ran = error, len(getattr(error, "ran", ()))
    if not trial:
        errors.extend(filter(None, [failure]))
        return value
    text = str(failure) if failure else None
    sweep.write(Path(hydra_cfg.runtime.output_dir), sweep.Trial(hydra_cfg.job.num, mine, value, ran, text))
    return sweep.FAILED if failure else value
