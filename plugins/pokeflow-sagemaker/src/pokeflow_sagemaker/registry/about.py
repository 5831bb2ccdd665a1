"""Registration data of a model in SageMaker's formats: key, description, properties, metrics."""

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
"""Prefixes of the properties that a newer benchmark or changed gates replace."""
MAX_PROPERTIES, MAX_VALUE = 50, 256
"""SageMaker's limits: properties of a model package, and characters of a property's value."""
ACCURACY = "top1_accuracy"
UNKNOWN = "NaN"
"""Value for a standard deviation that was not measured, in SageMaker's model quality format."""
_USERINFO = re.compile(r"://[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Registration:
    """Input for the registration of a finished model: records, URIs, and the verdicts of its gates.

    Attributes:
        group: Model package group.
        model: Name of the model.
        version: Version label.
        type: Type of the model, such as teacher.
        record: Key of the record of the registration itself.
        model_record: Record of the model.
        benchmark: Record of its benchmark, if there is one.
        bundle: Record of its bundle, if there is one.
        uri: URI of the bundle's archive; without a bundle, of the folder of ``model_record``.
        image: URI of the image that serves the bundle; None without a bundle.
        verdicts: Results of the gates, by name.
        description: Purpose of the model, for the model card.
        data: URIs of the data sets that it was trained on.

    """

    group: str
    model: str
    version: str
    type: str
    record: str
    model_record: Record
    benchmark: Record | None
    bundle: Record | None
    uri: str
    image: str | None
    verdicts: Mapping[str, Verdict]
    description: str = ""
    data: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Key to find the model package by: a hash of group, model, version label, content, bundle and image."""
        parts = [self.group, self.model, self.version, self.model_record.content]
        parts += [self.bundle.content, self.image or ""] if self.bundle else []
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def run(self) -> str:
        """Digest of the registration task."""
        return self.record.split("/")[3]

    @property
    def approval(self) -> str | None:
        """Approval status that follows from the gates; None without gates."""
        passed = all_passed(self.verdicts)
        return None if passed is None else APPROVED if passed else REJECTED


def sentence(registration: Registration) -> str:
    """Return the description, with the key at its end; it cannot be changed, so it contains no changeable figures."""
    facts = registration.model_record.facts
    count = facts.get("parameters")
    parts = [
        f"{registration.model} {registration.version}".strip(),
        registration.type,
        str(facts.get("architecture", "")),
        f"{count:,} parameters" if isinstance(count, int) else "",
        f"embeddings of {facts['embedding_dim']}" if "embedding_dim" in facts else "",
        f"produced by {registration.model_record.stage} with {registration.model_record.backend}",
    ]
    text = printable(", ".join(filter(None, parts)))
    return f"{text[: 1024 - len(marker(registration.key)) - 2]}. {marker(registration.key)}"


def marker(key: str) -> str:
    """Return a key in the form that a description contains it."""
    return f"[{key}]"


def properties(registration: Registration, artifact: str, approval: str) -> dict[str, str]:
    """Return the properties to find and judge a model package by, within SageMaker's limits.

    Args:
        registration: The model; its figures are those of the benchmark.
        artifact: ARN of its lineage artifact.
        approval: Approval status that pokeflow sets.

    """
    record, benchmark = registration.model_record, registration.benchmark
    parents = record.parents
    git = record.environment.get("project_git")
    values: dict[str, Any] = {
        "pokeflow-key": registration.key,
        "pokeflow-model": registration.model,
        "pokeflow-version": registration.version,
        "pokeflow-type": registration.type,
        "pokeflow-digest": record.digest,
        "pokeflow-content": record.content,
        "pokeflow-task": record.task,
        "pokeflow-bundle": registration.bundle.content if registration.bundle else None,
        "pokeflow-source": registration.uri,
        "pokeflow-artifact": artifact,
        "pokeflow-record": registration.record,
        "pokeflow-producer": f"{record.path}/{RECORD}",
        "pokeflow-parent": parents[0].partition(":")[2] if parents else None,
        **{f"pokeflow-parent-{i}": f"{name}={record.inputs[name]}" for i, name in enumerate(parents, 1)},
        "pokeflow-git": f"{git}{' dirty' if record.environment.get('project_git_dirty') else ''}" if git else None,
        "pokeflow-approval": approval,
        "pokeflow-gates": {True: PASSED, False: FAILED, None: None}[all_passed(registration.verdicts)],
        **{f"gate-{name}": verdict for name, verdict in registration.verdicts.items()},
    }
    if benchmark:
        values |= {f"metric-{name}": value for name, value in benchmark.metrics.items()}
        values |= {f"reason-{name}": reason for name, reason in benchmark.reasons.items()}
    cleaned = {plain(name, 128): plain(str(value)) for name, value in values.items() if value not in (None, "")}
    return dict([(name, value) for name, value in cleaned.items() if value][:MAX_PROPERTIES])


def quality(benchmark: Record) -> dict[str, Any]:
    """Convert a benchmark's figures to SageMaker's model quality statistics; unknown figures are left out."""
    measured = {name: value for name, value in benchmark.metrics.items() if value is not None and math.isfinite(value)}
    metrics = {"accuracy" if name == ACCURACY else name: value for name, value in measured.items()}
    figures = {name: {"value": value, "standard_deviation": UNKNOWN} for name, value in metrics.items()}
    return {
        "version": 0.0,
        "dataset": {"evaluation_time": benchmark.finished},
        "multiclass_classification_metrics": figures,
    }


def metadata(registration: Registration, project_id: str | None) -> dict[str, str]:
    """Return SageMaker's ``MetadataProperties``: commit, generating program, project id."""
    commit = registration.model_record.environment.get("project_git")
    values = {"CommitId": commit, "GeneratedBy": f"pokeflow {pokeflow.__version__}", "ProjectId": project_id}
    return {name: str(value) for name, value in values.items() if value}


def plain(text: str, longest: int = MAX_VALUE) -> str:
    """Reduce text to letters, digits, spaces and ``_.:/=+-@``, the characters that SageMaker allows in a property."""
    characters = (c if unicodedata.category(c)[0] in "LZN" or c in "_.:/=+-@" else " " for c in without_userinfo(text))
    return " ".join("".join(characters).split())[:longest].strip()


def printable(text: str, longest: int = 1024) -> str:
    """Reduce text to one line without control characters, of at most ``longest`` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in without_userinfo(text)).split())[:longest]


def without_userinfo(text: str) -> str:
    """Remove user names and passwords from the URLs in a text."""
    return _USERINFO.sub("://", text)


def encode_json(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Serialize as JSON with sorted keys, so that equal values give equal text."""
    return json.dumps(value, indent=indent, ensure_ascii=False, sort_keys=True, allow_nan=False)
