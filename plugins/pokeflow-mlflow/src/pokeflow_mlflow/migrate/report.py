"""What a migration tells: a row for everything, counts of both sides, what was left out, what went wrong."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from pokeflow_mlflow.address import redact

FILE = "migration.json"


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
    """Filled while it goes on. ``source`` and ``there`` count both sides by the same words."""

    rows: list[Row] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    source: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)

    def count(self, source: Counter[str], there: Counter[str]) -> None:
        """Add what was found on both sides."""
        self.source.update(source)
        self.there.update(there)

    def problem(self, where: str, text: str) -> None:
        """Something that could not be brought."""
        self.problems.append((where, redact(text)))

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = {what: [n, self.there[what]] for what, n in self.source.items()}
        counts |= {what: [0, n] for what, n in self.there.items() if what not in counts}
        return {
            "rows": [asdict(row) for row in self.rows],
            "counts": counts,
            "left": [list(pair) for pair in self.left],
            "problems": [list(pair) for pair in self.problems],
        }
