"""Receipts of a migration: one for everything that it migrated, and one for each version declared in the plan."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from pokeflow.errors import Fault, unknown
from pokeflow.project import PublishedFile, Receipt, Tree, receipts
from pokeflow.project.inventory import LINK
from pokeflow_migrate.experiments import MigratedExperiments
from pokeflow_migrate.journal import JournalEntry
from pokeflow_migrate.mapping import LinkFile, Moves
from pokeflow_migrate.plan import Model, Plan
from pokeflow_migrate.survey import Context

RECEIPTS = "migrations"


def unit(plan: Plan) -> str:
    """Return the unit of a migration's own receipt."""
    return f"{RECEIPTS}/{plan.name}"


def folders(name: str, model: Model, tree: Tree) -> tuple[str, ...]:
    """Return the folders of a version: from the plan, else the layout, else ``models/<model>/<version>/``."""
    if model.at is not None:
        return (f"{model.at.rstrip('/')}/",)
    names = []
    for leaf in tree.leaves:
        parts = leaf.path.split("/")
        if leaf.model == name and leaf.fixed and leaf.version in parts:
            names.append("/".join([*parts[: parts.index(leaf.version)], model.version, ""]))
    return tuple(dict.fromkeys(names)) or (f"models/{name}/{model.version}/",)


def check(plan: Plan, moves: Moves, tree: Tree, known_receipts: Iterable[Receipt]) -> Iterator[Fault]:
    """Yield the faults of the versions declared in the plan.

    Args:
        plan: The plan.
        moves: The files and links to copy.
        tree: The project's tree.
        known_receipts: Receipts that are published there.

    """
    published = {receipt.unit: receipt for receipt in known_receipts}
    models = {*plan.models, *tree.about.models, *(r.model for r in published.values() if r.model)}
    for name, model in plan.models.items():
        location = f"models.{name}"
        locations = folders(name, model, tree)
        if not any(item.target.startswith(locations) for item in moves.items):
            yield Fault(
                location,
                f"no file of the plan has a target in {' or '.join(locations)}. Copy its files there or set 'at'.",
            )
        old = published.get(receipts.unit(name, model.version))
        if old is not None and old.origin is None:
            yield Fault(
                f"{location}.version",
                f"{name} {model.version} is already published from its records, which stay unchanged. Choose "
                "another version.",
            )
        for i, parent in enumerate(model.parents):
            if parent.rpartition(":")[0] not in models:
                yield unknown(f"{location}.parents[{i}]", "model", parent.rpartition(":")[0], models)
        try:
            json.dumps(model.facts, allow_nan=False)
        except (ValueError, TypeError) as error:
            yield Fault(f"{location}.facts", f"must be plain data: {error}. Put dates in quotes.")
    parents = {f"{name}:{model.version}": model.parents for name, model in plan.models.items()}
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        yield Fault("models", f"parents form a cycle: {' → '.join(error.args[1])}. Remove one of these parents.")


def build_receipts(
    plan: Plan,
    context: Context,
    moves: Moves,
    entries: Iterable[JournalEntry],
    experiments: Sequence[MigratedExperiments] = (),
) -> Iterator[Receipt]:
    """Yield the receipts of the versions, and last that of the migration, whose existence marks it as complete.

    Args:
        plan: The plan.
        context: Context of the migration.
        moves: The files, links and figures of the plan.
        entries: Journal's lines of the copied files.
        experiments: The migrated experiments.

    """
    folders_by_model = {name: folders(name, model, context.tree) for name, model in plan.models.items()}
    fixed = tuple(folder for model_folders in folders_by_model.values() for folder in model_folders)
    files = [
        PublishedFile(d.target, d.size, d.sha256, d.origin, bool(fixed) and d.target.startswith(fixed)) for d in entries
    ]
    files += [_link(link) for link in moves.links]
    files.sort(key=lambda file: file.path)
    for name, model in plan.models.items():
        model_files = tuple(
            file for file in files if file.path.startswith(folders_by_model[name]) and file.source != LINK
        )
        yield Receipt(
            unit=receipts.unit(name, model.version),
            files=model_files,
            model=name,
            version=model.version,
            type=model.type,
            parents=model.parents,
            origin=_common_folder([file.source for file in model_files]) or unit(plan),
            facts=_facts(plan, model, moves.figures.get(name, {}), context),
        )
    sources = {name: objects.uri for name, objects in context.sources.items()}
    counts = [{kind: list(pair) for kind, pair in migration.counts.items()} for migration in experiments]
    runs = [
        {"from": migration.source, "to": migration.target, "counts": n}
        for migration, n in zip(experiments, counts, strict=True)
    ]
    yield Receipt(
        unit=unit(plan),
        files=tuple(files),
        origin=", ".join(sorted({*sources.values(), *(migration.source for migration in experiments)})),
        facts={
            "sources": sources,
            "links": {link.target: link.to for link in moves.links},
            "versions": [f"{name}:{model.version}" for name, model in plan.models.items()],
            **({"mlflow": runs} if runs else {}),
        },
    )


def _link(link: LinkFile) -> PublishedFile:
    return PublishedFile(link.target, len(link.data), hashlib.sha256(link.data).hexdigest(), LINK, fixed=False)


def _facts(plan: Plan, model: Model, figures: Mapping[str, float], context: Context) -> dict[str, object]:
    """Return the declared facts and figures, with a ``migrated`` entry that marks them as not from a record."""
    figures_source = "the plan"
    if model.metrics_from:
        figures_source = f"{context.sources[model.metrics_from.source].uri}/{model.metrics_from.file}"
    migrated = {
        "by": unit(plan),
        "metrics": dict(figures),
        "metrics_from": figures_source,
        "facts": sorted(model.facts),
    }
    return {**figures, **model.facts, "migrated": migrated}


def _common_folder(origins: list[str]) -> str:
    """Return the common folder of all origins; empty if they have none."""
    schemes = {origin.partition("://")[0] for origin in origins}
    if len(schemes) != 1:
        return ""
    common = os.path.commonpath([origin.partition("://")[2].rpartition("/")[0] for origin in origins])
    return f"{schemes.pop()}://{common}" if common.strip("/") else ""
