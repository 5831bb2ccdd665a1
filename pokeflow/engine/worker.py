"""Worker process, started by an executor, that runs one task from a JSON file and writes its result next to it."""

import json
import logging
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pokeflow import plugins
from pokeflow.errors import Failure, PokeflowError, UnavailableError, exit_on_sigterm, was_stopped
from pokeflow.progress import StderrHandler
from pokeflow.schema import parse
from pokeflow.types import LOG, Backend, Input, Record, RemoteStore, Result, Task, load_params

ANSWER = "answer.json"


def run(task: Task, backend: Backend) -> Result:
    """Run the backend and validate its result: an unknown figure must be None and have a reason."""
    try:
        output = backend(task)
    except SystemExit as stop:
        if was_stopped(stop):
            raise  # SIGTERM ends the process
        raise PokeflowError(
            f"backend {backend.name!r} called sys.exit({stop.code!r}). Raise an error instead."
        ) from stop
    result = Result(metrics=output) if isinstance(output, Mapping) else output
    require_sound(result, f"backend {backend.name!r}")
    return result


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def require_sound(result: Any, label: str) -> None:
    """Raise a PokeflowError that names ``label`` if a result is not valid, or an unknown figure has no reason."""
    if not isinstance(result, Result):
        kind = type(result).__name__
        raise PokeflowError(f"{label} returned {kind}; expected a Result or a mapping of figures.")
    for name, value in result.metrics.items():
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int | float | None):
            raise PokeflowError(f"{label} returned {name!r} = {value!r}; a figure is a number or None.")
        if value is None and not result.reasons.get(name):
            raise PokeflowError(f"{label} returned no value for {name} and no reason. Add the reason.")
        if value is not None and not _finite(value):
            raise PokeflowError(f"{label} returned {name} = {value}. Return None for it, and add the reason.")
    for name, reason in result.reasons.items():
        if not isinstance(name, str) or not isinstance(reason, str):
            raise PokeflowError(f"{label} returned {reason!r} as the reason for {name!r}; expected text.")
    try:
        msgspec.json.encode(result.facts)
    except TypeError as error:
        raise PokeflowError(f"{label} returned facts that are not plain data: {error}.") from error


def error_message(error: BaseException) -> str:
    """Return an exception as one sentence, even if its own ``__str__`` fails."""
    try:
        return str(error) if isinstance(error, PokeflowError) else f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - some cannot even be printed
        return type(error).__name__


def failure_of(error: BaseException) -> Failure:
    """Return the Failure to send to another process or machine for an exception that ended a task."""
    return Failure(error_message(error), isinstance(error, UnavailableError))


def dump(task: Task) -> bytes:
    """Serialize a task as JSON, for another process or machine."""
    return msgspec.json.encode(task, enc_hook=_path)


def _path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a task's parameters must be plain data; {type(value).__name__} is not")


@contextmanager
def other_version_faults() -> Iterator[None]:
    """Raise a PokeflowError that says so if another version of pokeflow wrote the task's file that is read."""
    try:
        yield
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        message = f"another version of pokeflow wrote the task's file ({error!r}). Submit the task again."
        raise PokeflowError(message) from error


@other_version_faults()
def load(text: bytes, registry: plugins.Registry) -> tuple[Task, Backend]:
    """Deserialize a task that ``dump`` wrote; return it with the backend that runs it."""
    raw = json.loads(text)
    backend = registry.backends.get((raw["stage"], raw["backend"]))
    if backend is None:
        raise PokeflowError(f"no backend {raw['backend']!r} for stage {raw['stage']!r}. Install its plugin.")
    faults: list[Any] = []
    params = parse(load_params(backend), raw["params"], "params", faults)
    if faults:
        raise PokeflowError("; ".join(map(str, faults)))
    inputs = tuple(Input(msgspec.convert(i["record"], Record), Path(i["folder"])) for i in raw["inputs"])
    names = ("stage", "backend", "model", "version", "type", "digest")
    fields = {name: raw[name] for name in names}
    return Task(
        **fields,
        params=params,
        inputs=inputs,
        work=Path(raw["work"]),
        output=Path(raw["output"]),
        remote_store=msgspec.convert(raw["remote_store"], RemoteStore | None),
        fingerprint=raw["fingerprint"],
        replaces=raw["replaces"],
    ), backend


def read_result(task: Task) -> Result:
    """Return the result of the worker process; raise a PokeflowError with its own message if it failed."""
    try:
        text = (task.work / ANSWER).read_text(encoding="utf-8")
        raw: Mapping[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise PokeflowError(f"the worker process ended without a result ({error}). See its log.") from error
    if "error" in raw:
        raise Failure.loads(text).error()
    return msgspec.convert(raw, Result)


def _stop_with_parent(parent: int) -> None:
    """Stop this process once its parent is gone, so that the next process can run the task alone."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def main(file: Path, parent: int) -> int:
    """Run the task in ``file`` for the process ``parent``; return 0 on success, 1 on failure."""
    exit_on_sigterm()
    threading.Thread(target=_stop_with_parent, args=(parent,), daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[StderrHandler()])
    logging.getLogger().addHandler(logging.FileHandler(file.parent / LOG, encoding="utf-8"))
    out = file.with_name(ANSWER)
    out.unlink(missing_ok=True)
    try:
        reply = msgspec.json.encode(run(*load(file.read_bytes(), plugins.registry(plugins.manager()))))
        failed = False
    except SystemExit:
        raise  # stopped by SIGTERM
    except BaseException as error:  # noqa: BLE001 - whatever a backend raises is the result
        failed = True
        with file.with_name(LOG).open("a", encoding="utf-8") as text:
            traceback.print_exc(file=text)
        reply = failure_of(error).dumps().encode()
    out.write_bytes(reply)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
