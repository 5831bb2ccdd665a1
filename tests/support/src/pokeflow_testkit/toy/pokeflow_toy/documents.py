"""A third party's documents: every version's score, and a note of each version."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pokeflow.project import Project, Version
from pokeflow.types import DocumentKind


@dataclass(frozen=True)
class Scores:
    """The score of each published version."""

    schema_version: Literal[1]
    scores: dict[str, float]


def scores(project: Project) -> dict[str, Any]:
    by_name = {
        f"{r.model}:{r.version}": r.records[0].metrics.get("score") or 0.0 for r in project.receipts if r.records
    }
    return asdict(Scores(1, by_name))


def note(version: Version) -> bytes:
    return f"{version.model} {version.version}: {version.producer.metrics.get('score')}\n".encode()


SCORES = DocumentKind("scores", "project", scores, schema=Scores)
NOTE = DocumentKind("note", "version", "pokeflow_toy.documents:note")
