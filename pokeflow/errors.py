"""Every error that a person can mend: where, what, the nearest name, the known names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
