"""The documents of the tree: built from what is published, and kept true by many writers."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import Missing
from pokeflow.plugins import document_kinds
from pokeflow.project import _validation as validation
from pokeflow.project import receipts
from pokeflow.project._kinds import Project, Run, Version, kinds_of, schema_of
from pokeflow.project._update import encode, update
from pokeflow.project.receipts import Receipt
from pokeflow.project.tree import Tree
from pokeflow.types import DocumentKind


def write(tree: Tree, runs: Iterable[Run] = ()) -> tuple[str, ...]:
    """Bring the project's documents up to date with its receipts and with these runs; the paths of those written."""
    places = {leaf.document: leaf.path for leaf in tree.leaves if leaf.document and not leaf.model}
    runs, seen = tuple(runs), dict[str, Receipt]()
    written = []
    for name, kind in kinds_of("project").items():
        if name not in places:
            continue

        def change(old: dict[str, Any] | None, kind: DocumentKind = kind) -> Mapping[str, Any]:
            # Read here, after the old document: a receipt that was written before it is never missed.
            known = receipts.read_all(tree.objects, seen)
            return built(kind, Project(tree.about, known, runs, old, read_documents(tree, kind, places)))

        if update(tree.objects, places[name], change, schema_of(kind), derived=kind.derived):
            written.append(places[name])
    return tuple(written)


def built(kind: DocumentKind, project: Project) -> Mapping[str, Any]:
    """A document of the project as plain data."""
    document = kind(project)
    if isinstance(document, bytes):
        raise PokeflowError(f"document kind {kind.name!r}: a document of the project is plain data, not bytes.")
    return document


def read_documents(tree: Tree, kind: DocumentKind, places: Mapping[str, str]) -> dict[str, Any]:
    """The documents that a kind reads, as they lie there: they were found sound when they were written just now."""
    found: dict[str, Any] = {}
    for name in kind.reads:
        try:
            if name in places:
                found[name] = json.loads(tree.objects.read(places[name])[0])
        except Missing:
            continue
        except ValueError as error:
            raise PokeflowError(f"{places[name]}: damaged, not JSON ({error}). Run 'pokeflow verify'.") from error
    return found


def of_version(name: str, version: Version) -> bytes:
    """The bytes of a document of a version; PokeflowError where it is not true to its schema."""
    kind = document_kinds()[name]
    document = kind(version)
    if isinstance(document, bytes):
        return document
    where = f"{name} of {version.model} {version.version}"
    validation.require(document, schema_of(kind), where)
    return encode(document, where)


def has_schema(name: str) -> bool:
    """Tell whether a document kind that is installed has a schema."""
    kind = document_kinds().get(name)
    return kind is not None and schema_of(kind) is not None


def check(name: str, data: bytes) -> list[str]:
    """What is wrong with the bytes of a document by its name: where in it, and what; empty if nothing is."""
    schema = schema_of(document_kinds()[name])
    return [] if schema is None else validation.check_bytes(data, schema)
