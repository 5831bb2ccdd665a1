"""The trials of a sweep: each leaves a line of JSON, and in the end they stand in one table."""

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from pokeflow.report import table

log = logging.getLogger("pokeflow")
FILE = "trial.json"
FAILED = math.nan
"""What a failed trial returns: no value. Hydra's own sweeper goes on; one that optimises may not take it."""
failed: list[int] = []
"""Numbers of the trials that failed in the sweep that this process ran last."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One job of a sweep: its overrides, the objective it reached (None: unknown) and the error it ended in."""

    number: int
    overrides: list[str]
    objective: float | None
    ran: int
    error: str | None = None


def write(folder: Path, trial: Trial) -> None:
    """Leave a trial's outcome in its output folder."""
    (folder / FILE).write_text(json.dumps(asdict(trial)) + "\n", encoding="utf-8")


def read(folder: Path) -> list[Trial]:
    """The trials of a sweep's folder, by number."""
    trials = (Trial(**json.loads(file.read_text(encoding="utf-8"))) for file in folder.glob(f"*/{FILE}"))
    return sorted(trials, key=lambda trial: trial.number)


class Summary(Callback):
    """Prints the table when a sweep is over."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra in the process that was started by the user."""
        trials = read(Path(config.hydra.sweep.dir))
        failed[:] = [trial.number for trial in trials if trial.error]
        shared = set.intersection(*(set(trial.overrides) for trial in trials)) if len(trials) > 1 else set()
        rows = [
            (
                str(trial.number),
                " ".join(override for override in trial.overrides if override not in shared),
                "failed" if trial.error else _figure(trial.objective),
                f"{trial.ran} run",
            )
            for trial in trials
        ]
        print(table(("trial", "overrides", "objective", "tasks"), rows))  # noqa: T201
        for trial in trials:
            if trial.error:
                log.error("trial %d: %s", trial.number, trial.error)


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
