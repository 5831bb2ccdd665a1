"""The receipts of a migration: one of everything that it brought, and one of each version that the plan declares."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from pokeflow.errors import Fault, unknown
from pokeflow.project import LINK, Placed, Receipt, Tree, version_unit
from pokeflow_migrate.experiments import Brought
from pokeflow_migrate.journal import Done
from pokeflow_migrate.mapping import LinkFile, Moves
from pokeflow_migrate.plan import Model, Plan
from pokeflow_migrate.survey import Around

RECEIPTS = "migrations"


def unit(plan: Plan) -> str:
    """The unit of a migration's own receipt."""
    return f"{RECEIPTS}/{plan.name}"


def folders(name: str, model: Model, tree: Tree) -> tuple[str, ...]:
    """The folders of a version: as the plan says, else the layout's, else ``models/<model>/<version>/``."""
    if model.at is not None:
        return (f"{model.at.rstrip('/')}/",)
    found = []
    for leaf in tree.leaves:
        parts = leaf.path.split("/")
        if leaf.model == name and leaf.fixed and leaf.version in parts:
            found.append("/".join([*parts[: parts.index(leaf.version)], model.version, ""]))
    return tuple(dict.fromkeys(found)) or (f"models/{name}/{model.version}/",)


def check(plan: Plan, moves: Moves, tree: Tree, known: Iterable[Receipt]) -> Iterator[Fault]:
    """What is wrong with the declared versions."""
    published = {receipt.unit: receipt for receipt in known}
    models = {*plan.models, *tree.about.models, *(r.model for r in published.values() if r.model)}
    for name, model in plan.models.items():
        where = f"models.{name}"
        places = folders(name, model, tree)
        if not any(item.target.startswith(places) for item in moves.items):
            yield Fault(where, f"nothing of the plan lies in {' or '.join(places)}. Copy its files there, or say at: …")
        old = published.get(version_unit(name, model.version))
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


def made(
    plan: Plan, around: Around, moves: Moves, done: Iterable[Done], experiments: Sequence[Brought] = ()
) -> Iterator[Receipt]:
    """The receipts, the versions' first: the migration's own is there when all is."""
    places = {name: folders(name, model, around.tree) for name, model in plan.models.items()}
    fixed = tuple(folder for of_model in places.values() for folder in of_model)
    files = [Placed(d.target, d.size, d.sha256, d.origin, bool(fixed) and d.target.startswith(fixed)) for d in done]
    files += [_link(link) for link in moves.links]
    files.sort(key=lambda file: file.path)
    for name, model in plan.models.items():
        own = tuple(file for file in files if file.path.startswith(places[name]) and file.source != LINK)
        yield Receipt(
            unit=version_unit(name, model.version),
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


def _link(link: LinkFile) -> Placed:
    return Placed(link.target, len(link.data), hashlib.sha256(link.data).hexdigest(), LINK, fixed=False)


def _facts(plan: Plan, model: Model, figures: Mapping[str, float], around: Around) -> dict[str, object]:
    """Facts as declared, and figures beside them by name; all of them marked as what no record tells."""
    told = "the plan"
    if model.metrics_from:
        told = f"{around.sources[model.metrics_from.source].uri}/{model.metrics_from.file}"
    marked = {"by": unit(plan), "metrics": dict(figures), "metrics_from": told, "facts": sorted(model.facts)}
    return {**figures, **model.facts, "migrated": marked}


def _shared(origins: list[str]) -> str:
    """The folder that all origins lie in; empty where they are of different places."""
    schemes = {origin.partition("://")[0] for origin in origins}
    if len(schemes) != 1:
        return ""
    common = os.path.commonpath([origin.partition("://")[2].rpartition("/")[0] for origin in origins])
    return f"{schemes.pop()}://{common}" if common.strip("/") else ""
