"""Checkpoints that survive a kill at any moment, and the signals that request a last checkpoint."""

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
"""Name of the final training state in a task's output."""
KEPT = 2
"""Number of checkpoints to keep; the last but one is the fallback if the last is damaged."""


def write(folder: Path, digest: str, step: int, state: Mapping[str, Any]) -> Path:
    """Save a checkpoint atomically under a name that contains its step and checksum, and delete old ones.

    The file is flushed to the disk under a temporary name and then renamed, so it is either complete or absent. The
    newest ``KEPT`` checkpoints remain.

    Args:
        folder: The task's work folder.
        digest: Digest of the task, stored in the checkpoint.
        step: Number of steps done.
        state: Values that ``torch.load(..., weights_only=True)`` can read back.

    Returns:
        The path of the new checkpoint.

    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "checkpoint.partial"
    with partial.open("wb") as file:
        torch.save({"digest": digest, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    target = folder / f"checkpoint-{step:09d}-{_checksum(partial)}.pt"
    partial.replace(target)
    for outdated in _newest_first(folder)[KEPT:]:
        outdated.unlink(missing_ok=True)
    return target


def latest(folder: Path, digest: str) -> dict[str, Any] | None:
    """Return the newest undamaged checkpoint in ``folder`` of the task with this digest, or None."""
    for file in _newest_first(folder):
        if not file.stem.endswith(_checksum(file)):
            log.warning("%s is damaged. Trying the checkpoint before it", file)
            continue
        # weights_only: loading a file must never run code.
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if state["digest"] == digest:
            return state
        log.info("%s belongs to another task. Ignoring it", file)
    return None


def keep(folder: Path, state: Mapping[str, Any]) -> Path:
    """Save the final training state; equal states give equal bytes, whether or not the run was resumed.

    It contains no state of a random generator, because every draw follows from (seed, step, process). Read it with
    ``torch.load(file, weights_only=True)``. Pass it to ``write`` with a task's work folder to resume training from it.
    """
    target = folder / FILE
    with target.open("wb") as file:
        torch.save(_canonical(state, {}), file)
    return target


def _canonical(value: Any, strings: dict[Any, Any]) -> Any:
    """Copy the values to a form whose pickle depends on the values only.

    A pickle also shows which equal strings are one object, and the strides of tensors. Here equal strings are always
    one object, and tensors are contiguous and on the CPU.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping):
        return {_canonical(key, strings): _canonical(item, strings) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item, strings) for item in value]
    if isinstance(value, tuple):
        return tuple([_canonical(item, strings) for item in value])
    return strings.setdefault(value, value) if isinstance(value, str) else value


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.pt"), reverse=True)


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]


class StopRequest:
    """The first Ctrl-C or SIGTERM that has arrived: ``signal`` is its number, or None."""

    def __init__(self, *, repeated: bool) -> None:
        self.signal: int | None = None
        self._repeated = repeated

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Record the signal; a second signal ends the process at once, unless signals come ``repeated``."""
        if self.signal is not None and not self._repeated:
            self.leave(self.signal)
        self.signal = self.signal or number

    @staticmethod
    def leave(number: int) -> None:
        """Raise what the signal would cause: KeyboardInterrupt, or SystemExit with 128 + its number for SIGTERM."""
        if number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextmanager
def stop_requests(*, repeated: bool = False) -> Iterator[StopRequest]:
    """Record Ctrl-C and SIGTERM within the context, so that a step ends before its state is saved.

    Only a program's main thread can install signal handlers; in other threads signals keep their handlers. Set
    ``repeated`` if a launcher of several processes forwards the signals that a terminal has already sent to each of
    them: a second signal is then ignored, because the launcher itself ends processes that do not stop.
    """
    request = StopRequest(repeated=repeated)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers = {number: signal.signal(number, request.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
