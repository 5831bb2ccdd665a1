"""What documents are built from: a project as it is published, or a version from its records."""

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
    """One run of a task, and what tracking answered to it: ``experiment``, ``run_id``, ``uri``, if it was tracked."""

    record: Record
    tracked: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """What a document of the project is built from.

    ``runs`` are those that this machine knows of beside the receipts. ``old`` is the document as it lies there, None
    where none does. ``documents`` are those that its kind reads, by name, as far as they lie there.
    """

    about: About
    receipts: tuple[Receipt, ...]
    runs: tuple[Run, ...] = ()
    old: Mapping[str, Any] | None = None
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """What a document of a version is built from: from its records, whatever has become of it since.

    ``parents`` are models, the first one the parent in the lineage. ``records`` are those of its tasks
    by stage, with ``prepare``, the data set's, if it is at hand; ``making`` is the one that made it.
    """

    about: About
    model: str
    version: str
    type: str
    parents: tuple[str, ...]
    records: Mapping[str, Record]
    making: Record


def kinds_of(scope: str) -> dict[str, DocumentKind]:
    """The installed kinds of documents of a ``project`` or a ``version``, each after those that it reads."""
    from graphlib import CycleError, TopologicalSorter

    known = {name: kind for name, kind in document_kinds().items() if kind.scope == scope}
    graph = {name: [read for read in kind.reads if read in known] for name, kind in known.items()}
    try:
        return {name: known[name] for name in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        raise PokeflowError(f"document kinds read one another: {' → '.join(error.args[1])}.") from error


def schema_of(kind: DocumentKind) -> Mapping[str, Any] | None:
    """The JSON Schema of a kind's documents, generated where it brings a dataclass; None where it brings nothing."""
    what = f"the schema of document kind {kind.name!r}"
    form: Any = call_plugin(what, load_function, kind.schema) if isinstance(kind.schema, str) else kind.schema
    schema: Any = call_plugin(what, document_schema, form) if isinstance(form, type) else form
    if schema is not None and not isinstance(schema, Mapping):
        raise PokeflowError(f"{what} is {schema!r:.80}; a mapping or a dataclass is expected.")
    return schema
