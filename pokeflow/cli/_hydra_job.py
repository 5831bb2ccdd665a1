"""Hydra job for a configuration that is already composed, with its folder, logging and callbacks."""

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
    """Callbacks that a configuration names under ``hydra.callbacks``, which receive the same events as from Hydra."""

    def __init__(self, config: DictConfig) -> None:
        self.callbacks = [instantiate(params) for params in (config.hydra.callbacks or {}).values()]

    def notify(self, event: str, **kwargs: Any) -> None:
        """Call all callbacks for an event; for the end of something in reverse order."""
        for callback in reversed(self.callbacks) if event.endswith("_end") else self.callbacks:
            getattr(callback, event)(**kwargs)

    def on_job_start(self, **kwargs: Any) -> None:
        """Notify the callbacks of the start of a job; called by Hydra."""
        self.notify("on_job_start", **kwargs)

    def on_job_end(self, **kwargs: Any) -> None:
        """Notify the callbacks of the end of a job; called by Hydra."""
        self.notify("on_job_end", **kwargs)


def context(loader: ConfigLoader, callbacks: Callbacks) -> HydraContext:
    """Return the Hydra context for jobs and launchers."""
    return HydraContext(config_loader=loader, callbacks=cast("Any", callbacks))


def run(config: DictConfig, loader: ConfigLoader, work: Callable[[], T]) -> T:
    """Return the result of ``work``, run as a Hydra job in ``hydra.run.dir`` with ``.hydra/`` and the job's log.

    Raises:
        Exception: The exception that ``work`` raised.

    """
    results: list[T] = []
    failures: list[Exception] = []

    def task(_: DictConfig) -> T | None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - raised again below: Hydra would print it as well
            failures.append(error)
            return None
        return results[0]

    with faults(), composition.faults():
        with read_write(config), open_dict(config):
            config.hydra.mode = RunMode.RUN
        callbacks = Callbacks(config)
        callbacks.notify("on_run_start", config=config, config_name=NAME)
        job_return = run_job(
            task_function=task,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=context(loader, callbacks),
        )
        callbacks.notify("on_run_end", config=config, config_name=NAME, job_return=job_return)
    if failures:
        raise failures[0]
    return results[0]


@contextmanager
def faults() -> Iterator[None]:
    """Convert an exception of Hydra or its launchers to a PokeflowError that says how to resume."""
    try:
        yield
    except (PokeflowError, OSError):
        raise
    except Exception as error:
        hint = "Finished work is kept; run the same command to resume."
        raise PokeflowError(f"Hydra ended with {type(error).__name__}: {error}\n{hint}") from error
