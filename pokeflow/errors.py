"""Every error that a person can mend: where, what, the nearest name, the known names."""

import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

STOPPED = 128 + signal.SIGTERM
"""Exit status of a process that SIGTERM ended, as shells count."""


def exit_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception does: what is open is closed, what is held is let go."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(STOPPED)


def was_stopped(error: BaseException) -> bool:
    """Whether an exception is the end that SIGTERM asked for, which nothing may hold up."""
    return isinstance(error, SystemExit) and error.code == STOPPED


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in what was asked for: the path of the key (empty: all of it), and what is wrong with it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def unknown(path: str, what: str, name: object, known: Iterable[str], hint: str = "") -> Fault:
    """The one sentence for every "no such name": the path, the fault, the nearest name, the known ones."""
    import difflib  # costs more than most runs have use for

    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    parts = [
        f"no {what} {str(name)!r}.",
        f"Did you mean {near[0]!r}?" if near else "",
        f"Known: {_some(names)}.",
        hint,
    ]
    return Fault(path, " ".join(filter(None, parts)))


def _some(names: Sequence[str], limit: int = 12) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


class PokeflowError(Exception):
    """A mistake or a mishap told in a sentence; never a bug in pokeflow."""

    exit_code = 1


class ConfigError(PokeflowError):
    """Every fault found in what the user asked for; nothing has been run or changed."""

    exit_code = 2

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class Unavailable(PokeflowError):  # noqa: N818 - it is no error: the task waits
    """A task that needs what is not here, such as a vendor's compiler or a device; the sentence says what to install.

    Nothing failed and nothing was made up: what the backend wrote so far stays where it is, and no record is made.
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task failed in another process or on another machine; ``unavailable``: it needs what is not there."""

    message: str
    unavailable: bool = False

    def dumps(self, limit: int | None = None) -> str:
        """Return it as JSON text, its message cut so that the whole has no more than ``limit`` characters."""
        message = self.message
        while True:
            text = json.dumps({"unavailable": self.unavailable, "error": message}, ensure_ascii=False)
            if limit is None or len(text) <= limit or not message:
                return text
            message = message[: limit - len(text) - 1] + "…" if len(message) > 1 else ""

    @classmethod
    def loads(cls, text: str) -> "Failure":
        """Read what ``dumps`` wrote; any other text, such as a container's own, is the message itself."""
        try:
            raw = json.loads(text)
            return cls(str(raw["error"]), bool(raw["unavailable"]))
        except (ValueError, TypeError, KeyError):
            return cls(text)

    def error(self, what: str = "") -> PokeflowError:
        """Return it as an exception to raise: Unavailable, or PokeflowError; ``what`` stands before its message."""
        return (Unavailable if self.unavailable else PokeflowError)(f"{what}{self.message}")


WAITING = 3
"""Exit code of a run in which nothing failed, but what a task needs is not here."""


class TaskError(PokeflowError):
    """Tasks that were not made: why, and the command that goes on from there. ``ran`` names those that were.

    ``records`` are of all that is made, by task; ``failed``: something did, it is not only that what is needed is
    not here.
    """

    def __init__(
        self,
        message: str,
        ran: Iterable[str] = (),
        *,
        failed: bool = True,
        records: Mapping[str, Any] | None = None,
    ) -> None:
        self.ran, self.records, self.exit_code = tuple(ran), records or {}, 1 if failed else WAITING
        super().__init__(message)
