"""The trials of a sweep: each leaves a line of JSON, and in the end they stand in one table.

With a bucket behind the store the line is left there too: a launcher may run trials on other machines, and whoever
started the sweep sees nothing of their folders.
"""

import json
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pokeflow.config._resolver import bucket
from pokeflow.config._settings import Store
from pokeflow.errors import Fault, PokeflowError
from pokeflow.objects import Objects
from pokeflow.schema import parse
from pokeflow.text import table

log = logging.getLogger("pokeflow")
SINCE = "POKEFLOW_SINCE"
"""Variable with the moment a run or a sweep began; every trial gets it, on whatever machine."""
FILE = "trial.json"
FAILED = math.nan
"""What a failed trial returns: no value. Hydra's own sweeper goes on; one that optimises may not take it."""
failed: list[int] = []
"""Numbers of the trials that failed in the sweep that this process ran last."""
waiting: list[int] = []
"""Numbers of those in which nothing failed, but what a task needs is not here."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One job of a sweep: its overrides, the objective it reached (None: unknown) and the error it ended in.

    ``waits``: that error is no failure, a task waits for what is not here.
    """

    number: int
    overrides: list[str]
    objective: float | None
    ran: int
    error: str | None = None
    waits: bool = False


def write(folder: Path, trial: Trial, sweep: str, remote: Objects | None) -> None:
    """Leave a trial's outcome in its output folder, and in the bucket below the sweep's name."""
    text = json.dumps(asdict(trial)) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
    if remote is not None:
        try:
            remote.write(f"{_prefix(sweep)}{trial.number}/{FILE}", text.encode(), match=None)
        except PokeflowError as error:
            log.warning("the outcome stays on this machine: %s", error)


def read(folder: Path) -> list[Trial]:
    """The trials of a sweep's folder, by number."""
    trials = (_trial(file.read_bytes()) for file in folder.glob(f"*/{FILE}"))
    return sorted(trials, key=lambda trial: trial.number)


def _shared(remote: Objects, sweep: str) -> Iterator[Trial]:
    """The trials of a sweep that told of themselves in the bucket, on whatever machine they ran."""
    try:
        for entry in remote.list(_prefix(sweep)):
            if entry.key.endswith(f"/{FILE}"):
                yield _trial(remote.read(entry.key)[0])
    except PokeflowError as error:
        log.warning("trials of other machines are not told of: %s", error)


def _trial(text: bytes) -> Trial:
    return Trial(**json.loads(text))


def _prefix(sweep: str) -> str:
    return f"sweeps/{sweep.lstrip('/')}/"


def place(config: DictConfig) -> Objects | None:
    """The bucket behind the store, if the configuration names one that there can be; its faults are told elsewhere."""
    faults: list[Fault] = []
    try:
        data = OmegaConf.to_container(config.store, resolve=True)
    except OmegaConfBaseException:
        return None
    store = parse(Store, data, "store", faults)
    return bucket(store, faults) if store else None


def name_of(folder: str) -> str:
    """What names a sweep: its folder as seen from ``sweeps/``, or the whole path where it lies elsewhere."""
    return Path(folder).absolute().as_posix().rpartition("/sweeps/")[2]


class Summary(Callback):
    """Prints the table when a sweep is over."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it composes the trials: processes of other machines inherit no variable."""
        with open_dict(config):
            config.hydra.overrides.hydra.append(f"++hydra.job.env_set.{SINCE}='{os.environ[SINCE]}'")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra in the process that was started by the user."""
        folder = str(config.hydra.sweep.dir)
        remote = place(config)
        told = {trial.number: trial for trial in _shared(remote, name_of(folder))} if remote else {}
        told |= {trial.number: trial for trial in read(Path(folder))}
        trials = [told.get(number) or _silent(number, folder) for number in range(max(told, default=0) + 1)]
        failed[:] = [trial.number for trial in trials if trial.error and not trial.waits]
        waiting[:] = [trial.number for trial in trials if trial.waits]
        shared = set.intersection(*(set(trial.overrides) for trial in told.values())) if len(told) > 1 else set()
        rows = [
            (
                str(trial.number),
                " ".join(override for override in trial.overrides if override not in shared),
                _reached(trial),
                f"{trial.ran} run",
            )
            for trial in trials
        ]
        print(table(("trial", "overrides", "objective", "tasks"), rows))  # noqa: T201
        for trial in trials:
            if trial.error:
                log.error("trial %d: %s", trial.number, trial.error)


def _silent(number: int, folder: str) -> Trial:
    """A trial that ended without a word."""
    return Trial(
        number, [], None, 0, f"it left no {FILE} in {folder}. One on another machine tells by a bucket: store=s3."
    )


def _reached(trial: Trial) -> str:
    if trial.error and not trial.waits:
        return "failed"
    if trial.objective is None:
        return "waiting" if trial.waits else "unknown"
    return f"{trial.objective:.4f}"
