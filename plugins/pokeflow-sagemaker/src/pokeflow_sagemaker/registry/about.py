"""The model that is registered, in SageMaker's own forms: key, description, properties, metrics."""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pokeflow
from pokeflow import Record
from pokeflow.gates import FAILED, PASSED, Verdict, all_passed
from pokeflow.types import RECORD

APPROVED, REJECTED, PENDING = "Approved", "Rejected", "PendingManualApproval"
JUDGED = ("metric-", "reason-", "gate-", "pokeflow-gates")
"""Begin the properties that a newer benchmark or other gates replace."""
PROPERTIES, VALUE = 50, 256
"""How many properties SageMaker keeps of a package, and how long the value of one may be."""
ACCURACY = "top1_accuracy"
UNKNOWN = "NaN"
"""What the format of SageMaker's model quality holds for a deviation that nobody measured."""
_USERINFO = re.compile(r"://[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class About:
    """A finished model on its way to the registry: its records, where it lies, and what the gates say.

    ``uri`` is the bundle's address, or that of the making's folder where there is no bundle, and so no ``image``.
    ``data`` are the addresses of what it was made of that is no model.
    """

    group: str
    model: str
    version: str
    type: str
    record: str
    made: Record
    benchmark: Record | None
    bundle: Record | None
    uri: str
    image: str | None
    verdicts: Mapping[str, Verdict]
    description: str = ""
    data: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key that a package is found by: another model, version label, content or container is another package."""
        parts = [self.group, self.model, self.version, self.made.content]
        parts += [self.bundle.content, self.image or ""] if self.bundle else []
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def run(self) -> str:
        """The digest of the registration."""
        return self.record.split("/")[3]

    @property
    def approval(self) -> str | None:
        """The approval that the gates give; None where there are none."""
        passed = all_passed(self.verdicts)
        return None if passed is None else APPROVED if passed else REJECTED


def sentence(about: About) -> str:
    """Return the description for listings, the key at its end; it cannot be changed, so it holds no figure that may."""
    facts = about.made.facts
    count = facts.get("parameters")
    parts = [
        f"{about.model} {about.version}".strip(),
        about.type,
        str(facts.get("architecture", "")),
        f"{count:,} parameters" if isinstance(count, int) else "",
        f"embeddings of {facts['embedding_dim']}" if "embedding_dim" in facts else "",
        f"made by {about.made.stage} with {about.made.backend}",
    ]
    text = printable(", ".join(filter(None, parts)))
    return f"{text[: 1024 - len(marker(about.key)) - 2]}. {marker(about.key)}"


def marker(key: str) -> str:
    """Return a key as a description holds it."""
    return f"[{key}]"


def properties(about: About, artifact: str, approval: str) -> dict[str, str]:
    """Return the properties to find and judge a package by, as SageMaker can keep them: figures are the benchmark's."""
    made, measured = about.made, about.benchmark
    parents = made.parents
    git = made.environment.get("project_git")
    found: dict[str, Any] = {
        "pokeflow-key": about.key,
        "pokeflow-model": about.model,
        "pokeflow-version": about.version,
        "pokeflow-type": about.type,
        "pokeflow-digest": made.digest,
        "pokeflow-content": made.content,
        "pokeflow-task": made.task,
        "pokeflow-bundle": about.bundle.content if about.bundle else None,
        "pokeflow-source": about.uri,
        "pokeflow-artifact": artifact,
        "pokeflow-record": about.record,
        "pokeflow-made": f"{made.path}/{RECORD}",
        "pokeflow-parent": parents[0].partition(":")[2] if parents else None,
        **{f"pokeflow-parent-{i}": f"{name}={made.inputs[name]}" for i, name in enumerate(parents, 1)},
        "pokeflow-git": f"{git}{' dirty' if made.environment.get('project_git_dirty') else ''}" if git else None,
        "pokeflow-approval": approval,
        "pokeflow-gates": {True: PASSED, False: FAILED, None: None}[all_passed(about.verdicts)],
        **{f"gate-{name}": verdict for name, verdict in about.verdicts.items()},
    }
    if measured:
        found |= {f"metric-{name}": value for name, value in measured.metrics.items()}
        found |= {f"reason-{name}": reason for name, reason in measured.reasons.items()}
    kept = {plain(name, 128): plain(str(value)) for name, value in found.items() if value not in (None, "")}
    return dict([(name, value) for name, value in kept.items() if value][:PROPERTIES])


def quality(benchmark: Record) -> dict[str, Any]:
    """A benchmark's figures in the form of SageMaker's model quality statistics; what is not known is left out."""
    known = {name: value for name, value in benchmark.metrics.items() if value is not None and math.isfinite(value)}
    named = {"accuracy" if name == ACCURACY else name: value for name, value in known.items()}
    figures = {name: {"value": value, "standard_deviation": UNKNOWN} for name, value in named.items()}
    return {
        "version": 0.0,
        "dataset": {"evaluation_time": benchmark.finished},
        "multiclass_classification_metrics": figures,
    }


def metadata(about: About, project_id: str | None) -> dict[str, str]:
    """Return who made it from which commit, in the fields that SageMaker has for it."""
    commit = about.made.environment.get("project_git")
    found = {"CommitId": commit, "GeneratedBy": f"pokeflow {pokeflow.__version__}", "ProjectId": project_id}
    return {name: str(value) for name, value in found.items() if value}


def plain(text: str, longest: int = VALUE) -> str:
    """Text of letters, digits, spaces and ``_.:/=+-@`` alone: all that a property may hold."""
    kept = (c if unicodedata.category(c)[0] in "LZN" or c in "_.:/=+-@" else " " for c in without_userinfo(text))
    return " ".join("".join(kept).split())[:longest].strip()


def printable(text: str, longest: int = 1024) -> str:
    """Text on one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in without_userinfo(text)).split())[:longest]


def without_userinfo(text: str) -> str:
    """Text whose addresses hold no name and no password."""
    return _USERINFO.sub("://", text)


def encoded(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, indent=indent, ensure_ascii=False, sort_keys=True, allow_nan=False)
