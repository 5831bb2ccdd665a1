"""Documents of the tree, which are built from receipts and may have many concurrent writers."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import NotFoundError
from pokeflow.plugins import document_kinds
from pokeflow.project import _validation as validation
from pokeflow.project import receipts
from pokeflow.project._kinds import Project, Run, Version, kinds_of, schema_of
from pokeflow.project._update import encode, update
from pokeflow.project.receipts import Receipt
from pokeflow.project.tree import Tree
from pokeflow.types import DocumentKind


def write(tree: Tree, runs: Iterable[Run] = ()) -> tuple[str, ...]:
    """Update the project's documents from its receipts and these runs, and return the paths of changed documents."""
    paths = {leaf.document: leaf.path for leaf in tree.leaves if leaf.document and not leaf.model}
    runs, cache = tuple(runs), dict[str, Receipt]()
    changed = []
    for name, kind in kinds_of("project").items():
        if name not in paths:
            continue

        def change(old: dict[str, Any] | None, kind: DocumentKind = kind) -> Mapping[str, Any]:
            # Read receipts after the old document, so that no receipt written before it is missed.
            current = receipts.read_all(tree.objects, cache)
            return build(kind, Project(tree.about, current, runs, old, read_documents(tree, kind, paths)))

        if update(tree.objects, paths[name], change, schema_of(kind), derived=kind.derived):
            changed.append(paths[name])
    return tuple(changed)


def build(kind: DocumentKind, project: Project) -> Mapping[str, Any]:
    """Build a document of the project as plain data; raise a PokeflowError if its kind returns bytes."""
    document = kind(project)
    if isinstance(document, bytes):
        raise PokeflowError(f"document kind {kind.name!r}: a document of the project must be plain data, not bytes.")
    return document


def read_documents(tree: Tree, kind: DocumentKind, paths: Mapping[str, str]) -> dict[str, Any]:
    """Return the documents that a kind reads, without validation: they were validated when they were written."""
    documents: dict[str, Any] = {}
    for name in kind.reads:
        try:
            if name in paths:
                documents[name] = json.loads(tree.objects.read(paths[name])[0])
        except NotFoundError:
            continue
        except ValueError as error:
            raise PokeflowError(f"{paths[name]}: damaged, not JSON ({error}). Run 'pokeflow verify'.") from error
    return documents


def of_version(name: str, version: Version) -> bytes:
    """Build a document of a version and return its bytes; raise a PokeflowError if it violates its schema."""
    kind = document_kinds()[name]
    document = kind(version)
    if isinstance(document, bytes):
        return document
    label = f"{name} of {version.model} {version.version}"
    validation.require(document, schema_of(kind), label)
    return encode(document, label)


def has_schema(name: str) -> bool:
    """Return whether a document kind is installed and has a schema."""
    kind = document_kinds().get(name)
    return kind is not None and schema_of(kind) is not None


def check(name: str, data: bytes) -> list[str]:
    """Return the faults of a serialized document of the named kind, each with its path; empty if it is valid."""
    schema = schema_of(document_kinds()[name])
    return [] if schema is None else validation.check_bytes(data, schema)
