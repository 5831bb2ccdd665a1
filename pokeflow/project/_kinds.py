"""Input types of document builders: a published project, or a version with its records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.plugins import document_kinds
from pokeflow.project.receipts import Receipt
from pokeflow.schema import document_schema
from pokeflow.types import About, DocumentKind, Record, call_plugin, load_function


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task, and the tracking service's answer if it was tracked: ``experiment``, ``run_id``, ``uri``."""

    record: Record
    tracked: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """Input for building a document of the project.

    ``runs`` are the runs known to this machine, in addition to the receipts. ``old`` is the current document, or None
    if it does not exist. ``documents`` maps the names that its kind reads to the existing documents.
    """

    about: About
    receipts: tuple[Receipt, ...]
    runs: tuple[Run, ...] = ()
    old: Mapping[str, Any] | None = None
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """Input for building a document of a version; only its own records count, not later changes.

    ``parents`` are names of models, the lineage parent first. ``records`` are the records of its tasks by stage,
    including the data set's ``prepare`` if available; ``producer`` is the record of the task that produced the model.
    """

    about: About
    model: str
    version: str
    type: str
    parents: tuple[str, ...]
    records: Mapping[str, Record]
    producer: Record


def kinds_of(scope: str) -> dict[str, DocumentKind]:
    """Return the installed document kinds of scope ``project`` or ``version``, each after those that it reads."""
    from graphlib import CycleError, TopologicalSorter

    kinds = {name: kind for name, kind in document_kinds().items() if kind.scope == scope}
    graph = {name: [read for read in kind.reads if read in kinds] for name, kind in kinds.items()}
    try:
        return {name: kinds[name] for name in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        raise PokeflowError(f"document kinds read one another: {' → '.join(error.args[1])}.") from error


def schema_of(kind: DocumentKind) -> Mapping[str, Any] | None:
    """Return the JSON Schema of a document kind, generated if it is a dataclass; None if the kind has no schema."""
    label = f"the schema of document kind {kind.name!r}"
    form: Any = call_plugin(label, load_function, kind.schema) if isinstance(kind.schema, str) else kind.schema
    schema: Any = call_plugin(label, document_schema, form) if isinstance(form, type) else form
    if schema is not None and not isinstance(schema, Mapping):
        raise PokeflowError(f"{label} is {schema!r:.80}; a mapping or a dataclass is expected.")
    return schema
