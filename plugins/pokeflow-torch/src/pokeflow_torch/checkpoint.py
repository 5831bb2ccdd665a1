"""Checkpoints that survive a kill at any moment, and the signals that ask for a last one."""

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

log = logging.getLogger(__name__)

FILE = "checkpoint.pt"
"""The state at a training's end, in its output."""
KEPT = 2
"""The one before the last stays, for the case that the last is damaged."""


def write(folder: Path, digest: str, step: int, state: Mapping[str, Any]) -> Path:
    """Save a state under a name that holds its step and checksum; older ones go. It is whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "checkpoint.partial"
    with beside.open("wb") as file:
        torch.save({"digest": digest, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    target = folder / f"checkpoint-{step:09d}-{_checksum(beside)}.pt"
    beside.replace(target)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return target


def latest(folder: Path, digest: str) -> dict[str, Any] | None:
    """The newest whole checkpoint of the task with this digest; None where there is none."""
    for file in _newest_first(folder):
        if not file.stem.endswith(_checksum(file)):
            log.warning("%s is damaged; going on from the one before", file)
            continue
        # weights_only: a file must never be able to run code.
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if state["digest"] == digest:
            return state
        log.info("%s belongs to another task; ignored", file)
    return None


def keep(folder: Path, state: Mapping[str, Any]) -> Path:
    """Save the state at a training's end; equal states give equal bytes, whether or not the run was resumed.

    There is no state of a random generator in it: every draw follows from (seed, step, process). Read it with
    ``torch.load(file, weights_only=True)``; under ``write`` in a task's work folder, training goes on from it.
    """
    target = folder / FILE
    with target.open("wb") as file:
        torch.save(_canonical(state, {}), file)
    return target


def _canonical(value: Any, seen: dict[Any, Any]) -> Any:
    """The same values without what else a pickle shows: which equal texts are one object, how tensors are strided."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {_canonical(key, seen): _canonical(item, seen) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item, seen) for item in value]
    if isinstance(value, tuple):
        return tuple([_canonical(item, seen) for item in value])
    return seen.setdefault(value, value) if isinstance(value, str) else value


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.pt"), reverse=True)


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]


class StopRequest:
    """The first of Ctrl-C and SIGTERM that has come since, if one has."""

    def __init__(self, *, repeated: bool) -> None:
        self.signal: int | None = None
        self._repeated = repeated

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember the signal. A second one is not waited for, unless whoever sends them repeats them."""
        if self.signal is not None and not self._repeated:
            self.leave(self.signal)
        self.signal = self.signal or number

    @staticmethod
    def leave(number: int) -> None:
        """End as the signal would have ended the program: KeyboardInterrupt, or exit status 128 + its number."""
        if number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextmanager
def stop_requests(*, repeated: bool = False) -> Iterator[StopRequest]:
    """Within: Ctrl-C and SIGTERM are noted, so that a step ends before its state is saved.

    Only a program's main thread may do so; in others signals stay as they are. Signals come ``repeated`` where a
    launcher of several processes passes on what a terminal has sent to each of them already; it ends them itself.
    """
    request = StopRequest(repeated=repeated)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
