"""A job of Hydra's from a configuration that was composed already: its folder, its logging and its callbacks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict, read_write

from pokeflow.config import composition
from pokeflow.errors import PokeflowError

T = TypeVar("T")
NAME = "config"


class Callbacks:
    """The callbacks that a configuration names under ``hydra.callbacks``, told of what Hydra tells them."""

    def __init__(self, config: DictConfig) -> None:
        self.callbacks = [instantiate(params) for params in (config.hydra.callbacks or {}).values()]

    def notify(self, event: str, **told: Any) -> None:
        """Call all of them, at an end in reversed order."""
        for callback in reversed(self.callbacks) if event.endswith("_end") else self.callbacks:
            getattr(callback, event)(**told)

    def on_job_start(self, **told: Any) -> None:
        """Called by Hydra before a job."""
        self.notify("on_job_start", **told)

    def on_job_end(self, **told: Any) -> None:
        """Called by Hydra after a job."""
        self.notify("on_job_end", **told)


def context(loader: ConfigLoader, callbacks: Callbacks) -> HydraContext:
    """What jobs and launchers are given of Hydra."""
    return HydraContext(config_loader=loader, callbacks=cast("Any", callbacks))


def run(config: DictConfig, loader: ConfigLoader, work: Callable[[], T]) -> T:
    """Do ``work`` as the job of a configuration, in ``hydra.run.dir`` with ``.hydra/`` and the job's log; its answer.

    Raises:
        Exception: what ``work`` raised.

    """
    answers: list[T] = []
    failures: list[Exception] = []

    def task(_: DictConfig) -> T | None:
        try:
            answers.append(work())
        except Exception as error:  # noqa: BLE001 - raised again below: Hydra would print it as well
            failures.append(error)
            return None
        return answers[0]

    with faults(), composition.faults():
        with read_write(config), open_dict(config):
            config.hydra.mode = RunMode.RUN
        callbacks = Callbacks(config)
        callbacks.notify("on_run_start", config=config, config_name=NAME)
        left = run_job(
            task_function=task,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=context(loader, callbacks),
        )
        callbacks.notify("on_run_end", config=config, config_name=NAME, job_return=left)
    if failures:
        raise failures[0]
    return answers[0]


@contextmanager
def faults() -> Iterator[None]:
    """Turn what Hydra or a launcher of its raises into an error that says how to go on."""
    try:
        yield
    except (PokeflowError, OSError):
        raise
    except Exception as error:
        again = "What is done is kept; the same command goes on from here."
        raise PokeflowError(f"Hydra ended with {type(error).__name__}: {error}\n{again}") from error
