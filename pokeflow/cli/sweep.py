"""Trials of a sweep: each writes its outcome as a line of JSON, and at the end one table lists them all.

If the store has a bucket, the line is written there too: a launcher may run trials on other machines, whose folders
the process that started the sweep cannot read.
"""

import json
import logging
import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import pokeflow
from pokeflow import engine, plugins
from pokeflow.cli import _hydra_job as hydra_job
from pokeflow.config import composition, omegaconf, open_store
from pokeflow.config.resolver import resolve
from pokeflow.engine import error_message
from pokeflow.errors import EXIT_UNAVAILABLE, PokeflowError, TaskError
from pokeflow.flow import Sweep
from pokeflow.objects import ObjectStore
from pokeflow.text import table

log = logging.getLogger("pokeflow")
SINCE = "POKEFLOW_SINCE"
"""Key below ``hydra.job.env_set`` for the start time of the sweep. This is the only setting with a free name that
Hydra passes to every trial, with any launcher and on any machine."""
FILE = "trial.json"
FAILED = math.nan
"""Return value of a failed trial: NaN. Hydra's own sweeper continues; an optimizing sweeper may reject it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One job of a sweep: its overrides, the objective it reached (None: unknown) and the error that ended it.

    ``unavailable`` is True if the error is no failure, and a task only needs something unavailable.
    """

    number: int
    overrides: list[str]
    objective: float | None
    ran: int
    error: str | None = None
    unavailable: bool = False


def write(folder: Path, trial: Trial, sweep: str, remote: ObjectStore | None) -> None:
    """Write a trial's outcome to its output folder, and to the bucket below the sweep's name."""
    text = json.dumps(asdict(trial)) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
    if remote is not None:
        try:
            remote.write(f"{_prefix(sweep)}{trial.number}/{FILE}", text.encode(), match=None)
        except PokeflowError as error:
            log.warning("the outcome is only on this machine: %s", error)


def read(folder: Path) -> list[Trial]:
    """Return the trials in a sweep's folder, sorted by number."""
    trials = (_trial(file.read_bytes()) for file in folder.glob(f"*/{FILE}"))
    return sorted(trials, key=lambda trial: trial.number)


def _read_shared(remote: ObjectStore, sweep: str) -> Iterator[Trial]:
    """Yield the trials of a sweep that wrote their outcome to the bucket, on any machine."""
    try:
        for entry in remote.list(_prefix(sweep)):
            if entry.key.endswith(f"/{FILE}"):
                yield _trial(remote.read(entry.key)[0])
    except PokeflowError as error:
        log.warning("trials of other machines are not listed: %s", error)


def _trial(text: bytes) -> Trial:
    return Trial(**json.loads(text))


def _prefix(sweep: str) -> str:
    return f"sweeps/{sweep.lstrip('/')}/"


def _remote(config: DictConfig) -> ObjectStore | None:
    """Return the bucket behind the store; None if it has none or has faults, which are reported elsewhere."""
    try:
        return open_store(OmegaConf.to_container(config.store, resolve=True)).remote
    except (OmegaConfBaseException, PokeflowError):
        return None


def name_of(folder: str) -> str:
    """Return the name of a sweep: its folder relative to ``sweeps/``, or the whole path if it is elsewhere."""
    return Path(folder).absolute().as_posix().rpartition("/sweeps/")[2]


def run(arguments: composition.Arguments, since: str) -> int:
    """Run a sweep as Hydra does; return 0, 1 if a trial failed, or 3 if one needs something unavailable.

    Each trial is composed once, by Hydra's launcher, in the process that runs it.
    """
    extra = ["hydra.mode=MULTIRUN", f"++hydra.job.env_set.{SINCE}='{since}'"]
    with hydra_job.faults(), composition.session(arguments) as loader:
        config = composition.load(loader, arguments, RunMode.MULTIRUN, extra)
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        callbacks = hydra_job.Callbacks(config)
        callbacks.notify("on_multirun_start", config=config, config_name=hydra_job.NAME)
        sweeper = Plugins.instance().instantiate_sweeper(
            config=config, hydra_context=hydra_job.context(loader, callbacks), task_function=run_trial
        )
        sweeper.sweep(arguments=[str(override) for override in config.hydra.overrides.task])
        callbacks.notify("on_multirun_end", config=config, config_name=hydra_job.NAME)
    trials = _trials(config)
    _print(trials)
    failed = any(trial.error and not trial.unavailable for trial in trials)
    return 1 if failed else EXIT_UNAVAILABLE if any(trial.unavailable for trial in trials) else 0


def run_trial(config: DictConfig) -> float | None:
    """Run one trial, called by Hydra; return its objective, or NaN if it has none."""
    hydra_config = HydraConfig.get()
    overrides = [override.lstrip("+") for override in hydra_config.overrides.task]
    name = name_of(hydra_config.sweep.dir)
    failure: Exception | None = None
    value, ran = None, 0
    try:
        flow = resolve(
            omegaconf.to_plain(config),
            plugins.registry(plugins.manager()),
            sweep=Sweep(name, hydra_config.job.num, tuple(overrides)),
            command=shlex.join(["pokeflow", *overrides]),
        )
        try:
            result = pokeflow.run(flow, since=hydra_config.job.env_set[SINCE])
        except TaskError as error:
            if error.exit_code != EXIT_UNAVAILABLE:
                raise
            failure, result = error, engine.RunResult(flow, error.records, error.ran)
        value, ran = result.objective, len(result.ran)
    except Exception as error:  # noqa: BLE001 - reported in the table of trials
        failure, ran = error, len(getattr(error, "ran", ()))
    text = error_message(failure) if failure else None
    unavailable = getattr(failure, "exit_code", None) == EXIT_UNAVAILABLE
    trial = Trial(hydra_config.job.num, overrides, value, ran, text, unavailable)
    write(Path(hydra_config.runtime.output_dir), trial, name, _remote(config))
    return FAILED if failure and not (unavailable and value is not None) else value


def _trials(config: DictConfig) -> list[Trial]:
    """Return all trials of a configuration's sweep, from the outcomes written here or to the bucket."""
    folder = str(config.hydra.sweep.dir)
    remote = _remote(config)
    trials = {trial.number: trial for trial in _read_shared(remote, name_of(folder))} if remote else {}
    trials |= {trial.number: trial for trial in read(Path(folder))}
    return [trials.get(number) or _missing_outcome(number, folder) for number in range(max(trials, default=0) + 1)]


def _print(trials: list[Trial]) -> None:
    """Print a table of the trials on stdout, and log their errors."""
    overrides = [set(trial.overrides) for trial in trials if trial.overrides]
    shared = set.intersection(*overrides) if len(overrides) > 1 else set()
    rows = [
        (
            str(trial.number),
            " ".join(override for override in trial.overrides if override not in shared),
            _objective(trial),
            f"{trial.ran} run",
        )
        for trial in trials
    ]
    print(table(("trial", "overrides", "objective", "tasks"), rows))
    for trial in trials:
        if trial.error:
            log.error("trial %d: %s", trial.number, trial.error)


def _missing_outcome(number: int, folder: str) -> Trial:
    """Return a Trial for one that ended without writing its outcome."""
    return Trial(
        number, [], None, 0, f"no {FILE} in {folder}. Trials on other machines report through a bucket: store=s3."
    )


def _objective(trial: Trial) -> str:
    if trial.error and not trial.unavailable:
        return "failed"
    if trial.objective is None:
        return "unavailable" if trial.unavailable else "unknown"
    return f"{trial.objective:.4f}"
