"""Errors that a user can correct, with the key's path, a message, the nearest name and the known names."""

import json
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

STOPPED = 128 + signal.SIGTERM
"""Exit status of a process that SIGTERM ended, by the convention of shells: 128 + signal number."""


def exit_on_sigterm() -> None:
    """Make SIGTERM raise SystemExit in this process, so that open files are closed and locks are released."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(STOPPED)


def was_stopped(error: BaseException) -> bool:
    """Return whether an exception is the exit that SIGTERM requested, which no handler may suppress or delay."""
    return isinstance(error, SystemExit) and error.code == STOPPED


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in the user's input: the path of the key (empty: the whole input) and a message."""

    path: str
    message: str

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def unknown(path: str, what: str, name: object, known: Iterable[str], hint: str = "") -> Fault:
    """Return the Fault for an unknown name; its message has the nearest name and the known names."""
    import difflib  # imported late: it takes time, and most runs do not need it

    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    parts = [f"no {what} {str(name)!r}.", f"Did you mean {near[0]!r}?" if near else "", f"Known: {_some(names)}.", hint]
    return Fault(path, " ".join(filter(None, parts)))


def _some(names: Sequence[str], limit: int = 12) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


class PokeflowError(Exception):
    """An expected error, such as a mistake in the input or a failed task, with a message; never a bug in pokeflow."""

    exit_code = 1


class ConfigError(PokeflowError):
    """All faults of the user's input; nothing has been run or changed."""

    exit_code = 2

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class UnavailableError(PokeflowError):
    """A missing requirement of a task, such as a vendor's compiler or a device; the message says what to install.

    This is no failure, and no result is simulated: files that the backend wrote so far are kept, without a record.
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a task in another process or on another machine; ``unavailable``: a requirement is missing there."""

    message: str
    unavailable: bool = False

    def dumps(self, limit: int | None = None) -> str:
        """Return the failure as JSON text, with the message cut so that the text has at most ``limit`` characters."""
        message = self.message
        while True:
            text = json.dumps({"unavailable": self.unavailable, "error": message}, ensure_ascii=False)
            if limit is None or len(text) <= limit or not message:
                return text
            message = message[: limit - len(text) - 1] + "…" if len(message) > 1 else ""

    @classmethod
    def loads(cls, text: str) -> "Failure":
        """Parse the JSON text of ``dumps``; any other text, such as a container's own, becomes the message."""
        try:
            raw = json.loads(text)
            return cls(str(raw["error"]), bool(raw["unavailable"]))
        except (ValueError, TypeError, KeyError):
            return cls(text)

    def error(self, what: str = "") -> PokeflowError:
        """Return an UnavailableError or a PokeflowError for the failure; ``what`` is prepended to the message."""
        return (UnavailableError if self.unavailable else PokeflowError)(f"{what}{self.message}")


EXIT_UNAVAILABLE = 3
"""Exit code of a run in which nothing failed, but a task needs something that is unavailable here."""


class TaskError(PokeflowError):
    """Unfinished tasks of a run: the reasons, and the command that resumes it. ``ran`` names the tasks that ran.

    ``records`` holds the records of all finished tasks, by task. ``failed`` is False if no task failed and some only
    need something that is unavailable here.
    """

    def __init__(
        self, message: str, ran: Iterable[str] = (), *, failed: bool = True, records: Mapping[str, Any] | None = None
    ) -> None:
        self.ran, self.records, self.exit_code = tuple(ran), records or {}, 1 if failed else EXIT_UNAVAILABLE
        super().__init__(message)
