"""Report of a migration: a row per entity, counts of source and target, omissions and problems."""

from collections import Counter
from dataclasses import dataclass, field

from pokeflow_mlflow.address import redact


@dataclass(frozen=True, slots=True)
class Row:
    """One run, logged model or version: its source and target, bytes of its artifacts, and the outcome."""

    source: str
    target: str
    size: int
    done: str
    verified: str = ""
    note: str = ""


@dataclass(slots=True)
class Report:
    """Report of a migration, filled while it runs.

    Attributes:
        source: The URI of the source, without passwords.
        target: The URI of the target, without passwords.
        rows: A row per entity.
        left: Everything that was left out, each with the reason.
        problems: Everything that could not be copied, each with the reason.
        in_source: Counts by kind in the source.
        in_target: Counts by kind in the target, of entities that came from this source.

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
        """The counts in the source and in the target, by kind."""
        return {kind: (self.in_source[kind], self.in_target[kind]) for kind in {**self.in_source, **self.in_target}}

    def count(self, source: Counter[str], target: Counter[str]) -> None:
        """Add counts of the source and of the target."""
        self.in_source.update(source)
        self.in_target.update(target)

    def problem(self, entity: str, text: str) -> None:
        """Add an entity that could not be copied, and the reason without credentials."""
        self.problems.append((entity, redact(text)))
