"""The report of a migration: a row for everything, counts of both sides, what was left out, what went wrong."""

from collections import Counter
from dataclasses import dataclass, field

from pokeflow_mlflow.address import redact


@dataclass(frozen=True, slots=True)
class Row:
    """One run, logged model or version: where it came from and is now, bytes of artifacts, what was done."""

    source: str
    target: str
    size: int
    done: str
    verified: str = ""
    note: str = ""


@dataclass(slots=True)
class Report:
    """Filled while it goes on.

    Attributes:
        source: the address that everything came from, without passwords.
        target: the address that it was brought to, without passwords.
        rows: what was done, one by one.
        left: what was left out, each with the reason.
        problems: what could not be brought, each with the reason.
        in_source: how many there are of what, in the source.
        in_target: the same in the target, of what came from this source.

    """

    source: str
    target: str
    rows: list[Row] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    in_source: Counter[str] = field(default_factory=Counter)
    in_target: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """By what was counted, the source's number and the target's."""
        return {what: (self.in_source[what], self.in_target[what]) for what in {**self.in_source, **self.in_target}}

    def count(self, source: Counter[str], target: Counter[str]) -> None:
        """Add what was found on both sides."""
        self.in_source.update(source)
        self.in_target.update(target)

    def problem(self, where: str, text: str) -> None:
        """Add something that could not be brought."""
        self.problems.append((where, redact(text)))
