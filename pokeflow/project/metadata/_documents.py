"""The documents of the tree: pure functions of what is published, and how many writers keep them true."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import Missing
from pokeflow.project import _receipts as receipts
from pokeflow.project._receipts import Receipt
from pokeflow.project._tree import Tree
from pokeflow.project.metadata import _benchmarks as benchmarks
from pokeflow.project.metadata import _history as history
from pokeflow.project.metadata import _lineage as lineage
from pokeflow.project.metadata import _manifest as manifest
from pokeflow.project.metadata import _validation as validation
from pokeflow.project.metadata._history import Run
from pokeflow.project.metadata._model_card import model_card
from pokeflow.project.metadata._model_files import metrics_json, training_config_json
from pokeflow.project.metadata._update import update
from pokeflow.project.metadata._version import Version
from pokeflow.types import About

__all__ = ["MODEL", "PROJECT", "Kind", "Run", "Version", "check", "update", "write"]

Object = dict[str, Any]
History = Mapping[str, Any] | None
Build = Callable[[About, Sequence[Receipt], History], Object]
HISTORY = "training_history"


@dataclass(frozen=True, slots=True)
class Kind:
    """A document of the project. ``derived``: it follows from receipts and history alone, so it may be made anew."""

    build: Build
    derived: bool = True


def _history(about: About, known: Sequence[Receipt], old: History) -> Object:
    runs = (Run(record) for receipt in known for record in receipt.records)
    return history.merged(old, history.entries(runs), about.name)


PROJECT: Mapping[str, Kind] = {
    HISTORY: Kind(_history, derived=False),
    "model_lineage": Kind(lambda about, known, _: lineage.document(about, known)),
    "performance_benchmarks": Kind(lambda about, known, _: benchmarks.document(about, known)),
    "project_manifest": Kind(manifest.document),
}
"""The project's documents in the order in which they are written; a document's name is its schema's too."""

MODEL: Mapping[str, Callable[[Version], bytes]] = {
    "metrics": metrics_json,
    "training_config": training_config_json,
    "model_card": model_card,
}
"""The documents of a version."""


def write(tree: Tree, runs: Iterable[Run] = ()) -> tuple[str, ...]:
    """Bring the project's documents up to date with its receipts and with these runs; the paths of those written."""
    places = {leaf.document: leaf.path for leaf in tree.leaves if leaf.document and not leaf.model}
    entries = history.entries(runs)
    seen: dict[str, Receipt] = {}

    def change(name: str, old: Object | None) -> Object:
        # Read here, after the old document: a receipt that was written before it is never missed.
        known = receipts.read_all(tree.objects, seen)
        if name == HISTORY:
            return PROJECT[name].build(tree.about, known, history.merged(old, entries, tree.about.name))
        return PROJECT[name].build(tree.about, known, _told(tree, places.get(HISTORY)))

    written = []
    for name, kind in PROJECT.items():
        if name in places:
            key = places[name]
            if update(tree.objects, key, lambda old, name=name: change(name, old), name, derived=kind.derived):  # type: ignore[misc]
                written.append(key)
    return tuple(written)


def _told(tree: Tree, place: str | None) -> History:
    """The history as it lies there, if it does; it was found sound when it was written, a moment ago."""
    try:
        told: Object | None = json.loads(tree.objects.read(place)[0]) if place else None
    except Missing:
        return None
    except ValueError as error:
        raise PokeflowError(f"{place}: damaged, not JSON ({error}). Run 'pokeflow verify'.") from error
    return told


def check(name: str, data: bytes) -> list[str]:
    """What is wrong with the bytes of a document by its name: where in it, and what; empty if nothing is."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        return [f"not JSON ({error})"]
    return validation.faults_of(document, name)
