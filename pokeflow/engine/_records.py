"""Record, log file and input checks of a task run."""

import logging
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pokeflow.digest import content, digest_params
from pokeflow.engine import _environment as environment
from pokeflow.errors import PokeflowError
from pokeflow.stages import REGISTER
from pokeflow.store import Store, list_files
from pokeflow.types import SIMULATED, Backend, Input, Record, Result, Task


def now() -> str:
    """Return the present time in UTC as records write it; such times sort as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def build_record(
    task: Task,
    backend: Backend,
    result: Result,
    *,
    executor: str,
    started: str,
    seconds: float,
    price: float | None,
    why: str,
) -> Record:
    """Return the record of a backend's result in ``task.output``; ``why`` is the reason if ``price`` is None."""
    files = list_files(task.output)
    simulated = {SIMULATED: True} if any(item.record.simulated for item in task.inputs) else {}
    return Record(
        task=task.name,
        stage=task.stage,
        backend=backend.name,
        revision=backend.revision,
        model=task.model,
        version=task.version,
        type=task.type,
        digest=task.digest,
        params=digest_params(task.params),
        inputs={i.record.task: i.record.content for i in task.inputs},
        metrics={name: None if value is None else float(value) for name, value in result.metrics.items()},
        facts={**result.facts, **simulated},
        reasons={**result.reasons, **({} if price is not None else {"cost_usd": why})},
        files=files,
        content=content(files),
        environment=environment.capture(backend),
        executor=executor,
        started=started,
        finished=now(),
        seconds=seconds,
        cost_usd=price,
    )


def require_real(task: Task) -> None:
    """Raise a PokeflowError for registering a simulated result: a registry holds only models to rely on."""
    if task.stage == REGISTER:
        refuse_simulated((item.record for item in task.inputs), "registered")


def refuse_simulated(records: Iterable[Record], operation: str) -> None:
    """Raise a PokeflowError if one of the records is simulated; ``operation`` is a word such as ``registered``."""
    if doubles := [record.task for record in records if record.simulated]:
        raise PokeflowError(
            f"{', '.join(dict.fromkeys(doubles))} was produced by a simulator and cannot be {operation}. Repeat "
            "this with the real compiler or device."
        )


def require_unchanged(store: Store, task: Task, backend: Backend) -> None:
    """Raise a PokeflowError if inputs were replaced while the task ran, as its record would name the wrong ones."""
    for item in task.inputs:
        require_same(store, item)
    if backend.fingerprint_of(task.params) != task.fingerprint:
        raise PokeflowError("a file that its parameters name changed while the task ran. Run the same command again.")


def require_same(store: Store, item: Input) -> None:
    """Raise a PokeflowError if an input is no longer what the task read."""
    current = store.load(item.record)
    if current is None:
        raise PokeflowError(f"{item.record.task} is damaged or missing. Run the same command again to produce it.")
    if current.content != item.record.content:
        raise PokeflowError(f"{item.record.task} was replaced by another run. Run the same command again.")


@contextmanager
def log_file(file: Path) -> Iterator[None]:
    """Write all messages logged within this context to a file as well, and the traceback of an exception."""
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except BaseException:
        with file.open("a", encoding="utf-8") as out:
            traceback.print_exc(file=out)
        raise
    finally:
        root.removeHandler(handler)
        handler.close()
