"""Runs one task from a JSON file and leaves its answer beside it: what an executor starts elsewhere."""

import json
import logging
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from pokeflow import plugins
from pokeflow.errors import PokeflowError
from pokeflow.schema import parse
from pokeflow.types import Backend, Input, Record, Result, Task

ANSWER, LOG = "answer.json", "log.txt"
STOPPED = 128 + signal.SIGTERM


def run(task: Task, backend: Backend) -> Result:
    """Have the backend do the task, and check what it returns: an unknown figure is None and has a reason."""
    try:
        returned = backend.run(task)
    except SystemExit as left:
        if left.code == STOPPED:
            raise  # on its way out, by request
        raise PokeflowError(f"backend {backend.name!r} left with sys.exit({left.code!r}).") from left
    result = returned if isinstance(returned, Result) else Result(metrics=returned)
    for name, value in result.metrics.items():
        if value is None and not result.reasons.get(name):
            raise PokeflowError(f"backend {backend.name!r} leaves {name} unknown and gives no reason for it.")
        if value is not None and not math.isfinite(value):
            raise PokeflowError(f"backend {backend.name!r} returns {name} = {value}; an unknown figure is None.")
    return result


def dump(task: Task) -> bytes:
    """A task as JSON, for another process or machine."""
    return msgspec.json.encode(task, enc_hook=_path)


def _path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a task's parameters are plain data; {type(value).__name__} is not")


def load(text: bytes, registry: plugins.Registry) -> tuple[Task, Backend]:
    """The task that ``dump`` wrote, and the backend that does it."""
    raw = json.loads(text)
    backend = registry.backends.get((raw["stage"], raw["backend"]))
    if backend is None:
        raise PokeflowError(f"no backend {raw['backend']!r} for stage {raw['stage']!r} here: install its plugin.")
    faults: list[Any] = []
    params = parse(backend.params, raw["params"], "params", faults)
    if faults:
        raise PokeflowError("; ".join(map(str, faults)))
    inputs = tuple(Input(msgspec.convert(i["record"], Record), Path(i["folder"])) for i in raw["inputs"])
    names = ("stage", "backend", "model", "version", "type", "digest")
    named = {name: raw[name] for name in names}
    return Task(**named, params=params, inputs=inputs, work=Path(raw["work"]), output=Path(raw["output"])), backend


def answer(task: Task) -> Result:
    """What the worker process left; PokeflowError with its own words where it failed."""
    try:
        raw: Mapping[str, Any] = json.loads((task.work / ANSWER).read_bytes())
    except (OSError, ValueError) as error:
        raise PokeflowError(f"the worker ended without an answer ({error}).") from error
    if "error" in raw:
        raise PokeflowError(str(raw["error"]))
    return msgspec.convert(raw, Result)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _end_with(parent: int) -> None:
    """Stop when the process that waits for the answer is gone: whoever runs the task next must be alone with it."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def main(file: Path) -> int:
    """Do the task in ``file``; 0 where it succeeded, 1 where it failed."""
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger().addHandler(logging.FileHandler(file.parent / LOG, encoding="utf-8"))
    out = file.with_name(ANSWER)
    out.unlink(missing_ok=True)
    try:
        reply: Any = run(*load(file.read_bytes(), plugins.registry(plugins.manager())))
    except Exception as error:  # noqa: BLE001 - whatever a backend raises is the answer
        with file.with_name(LOG).open("a", encoding="utf-8") as text:
            traceback.print_exc(file=text)
        reply = {"error": str(error) if isinstance(error, PokeflowError) else f"{type(error).__name__}: {error}"}
    out.write_bytes(msgspec.json.encode(reply))
    return int(isinstance(reply, dict))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
