"""Receipts of a migration: one for everything that it migrated, and one for each version declared in the plan."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from pokeflow.errors import Fault, unknown
from pokeflow.project import PublishedFile, Receipt, Tree, receipts
from pokeflow.project.inventory import LINK
from pokeflow_migrate.experiments import Brought
from pokeflow_migrate.journal import JournalEntry
from pokeflow_migrate.mapping import LinkFile, Moves
from pokeflow_migrate.plan import Model, Plan
from pokeflow_migrate.survey import Around

RECEIPTS = "migrations"


def unit(plan: Plan) -> str:
    """Return the unit of a migration's own receipt."""
    return f"{RECEIPTS}/{plan.name}"


def folders(name: str, model: Model, tree: Tree) -> tuple[str, ...]:
    """Return the folders of a version: from the plan, else the layout, else ``models/<model>/<version>/``."""
    if model.at is not None:
        return (f"{model.at.rstrip('/')}/",)
    result = []
    for leaf in tree.leaves:
        parts = leaf.path.split("/")
        if leaf.model == name and leaf.fixed and leaf.version in parts:
            result.append("/".join([*parts[: parts.index(leaf.version)], model.version, ""]))
    return tuple(dict.fromkeys(result)) or (f"models/{name}/{model.version}/",)


def check(plan: Plan, moves: Moves, tree: Tree, known: Iterable[Receipt]) -> Iterator[Fault]:
    """Yield the faults of the versions declared in the plan."""
    published = {receipt.unit: receipt for receipt in known}
    models = {*plan.models, *tree.about.models, *(r.model for r in published.values() if r.model)}
    for name, model in plan.models.items():
        where = f"models.{name}"
        places = folders(name, model, tree)
        if not any(item.target.startswith(places) for item in moves.items):
            yield Fault(where, f"nothing of the plan lies in {' or '.join(places)}. Copy its files there, or say at: …")
        old = published.get(receipts.unit(name, model.version))
        if old is not None and old.origin is None:
            yield Fault(f"{where}.version", f"{name} {model.version} is published already, by its records. It stays.")
        for i, parent in enumerate(model.parents):
            if parent.rpartition(":")[0] not in models:
                yield unknown(f"{where}.parents[{i}]", "model", parent.rpartition(":")[0], models)
        try:
            json.dumps(model.facts, allow_nan=False)
        except (ValueError, TypeError) as error:
            yield Fault(f"{where}.facts", f"must be plain data: {error}. Put dates in quotes.")
    parents = {f"{name}:{model.version}": model.parents for name, model in plan.models.items()}
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        yield Fault("models", f"parents form a cycle: {' → '.join(error.args[1])}.")


def build_receipts(
    plan: Plan, around: Around, moves: Moves, done: Iterable[JournalEntry], experiments: Sequence[Brought] = ()
) -> Iterator[Receipt]:
    """Yield the receipts of the versions, and last that of the migration, whose existence marks it as complete."""
    places = {name: folders(name, model, around.tree) for name, model in plan.models.items()}
    fixed = tuple(folder for of_model in places.values() for folder in of_model)
    files = [
        PublishedFile(d.target, d.size, d.sha256, d.origin, bool(fixed) and d.target.startswith(fixed)) for d in done
    ]
    files += [_link(link) for link in moves.links]
    files.sort(key=lambda file: file.path)
    for name, model in plan.models.items():
        own = tuple(file for file in files if file.path.startswith(places[name]) and file.source != LINK)
        yield Receipt(
            unit=receipts.unit(name, model.version),
            files=own,
            model=name,
            version=model.version,
            type=model.type,
            parents=model.parents,
            origin=_shared([file.source for file in own]) or unit(plan),
            facts=_facts(plan, model, moves.figures.get(name, {}), around),
        )
    sources = {name: objects.uri for name, objects in around.sources.items()}
    counts = [{what: list(pair) for what, pair in one.counts.items()} for one in experiments]
    runs = [{"from": one.source, "to": one.target, "counts": n} for one, n in zip(experiments, counts, strict=True)]
    yield Receipt(
        unit=unit(plan),
        files=tuple(files),
        origin=", ".join(sorted({*sources.values(), *(one.source for one in experiments)})),
        facts={
            "sources": sources,
            "links": {link.target: link.to for link in moves.links},
            "versions": [f"{name}:{model.version}" for name, model in plan.models.items()],
            **({"mlflow": runs} if runs else {}),
        },
    )


def _link(link: LinkFile) -> PublishedFile:
    return PublishedFile(link.target, len(link.data), hashlib.sha256(link.data).hexdigest(), LINK, fixed=False)


def _facts(plan: Plan, model: Model, figures: Mapping[str, float], around: Around) -> dict[str, object]:
    """Return the declared facts and figures, with a ``migrated`` entry that marks them as not from a record."""
    source = "the plan"
    if model.metrics_from:
        source = f"{around.sources[model.metrics_from.source].uri}/{model.metrics_from.file}"
    marked = {"by": unit(plan), "metrics": dict(figures), "metrics_from": source, "facts": sorted(model.facts)}
    return {**figures, **model.facts, "migrated": marked}


def _shared(origins: list[str]) -> str:
    """Return the common folder of all origins; empty if they have none."""
    schemes = {origin.partition("://")[0] for origin in origins}
    if len(schemes) != 1:
        return ""
    common = os.path.commonpath([origin.partition("://")[2].rpartition("/")[0] for origin in origins])
    return f"{schemes.pop()}://{common}" if common.strip("/") else ""
