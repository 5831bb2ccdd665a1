"""Mapping of a plan to single files: their targets, files that stay, and all faults that source listings reveal."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pokeflow.errors import Fault, PokeflowError
from pokeflow.objects import NotFoundError, ObjectStore, require_key
from pokeflow.project import Tree
from pokeflow.project.links import Link, encode
from pokeflow_migrate import patterns, sources
from pokeflow_migrate.plan import RESERVED, Copy, Figures, LinkRule, Plan
from pokeflow_migrate.references import References

FIGURES = 200
"""Maximum number of figures of a version."""
MAX_LISTED = 20
"""Maximum number of faults of one kind that are reported one by one."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file to migrate: name of its source, key in it, and target path; ``rewrite``: replace old paths inside."""

    source: str
    key: str
    target: str
    size: int
    etag: str
    rewrite: bool = False


@dataclass(frozen=True, slots=True)
class LinkFile:
    """A link to write: its path in the tree, target URI, content, and the number and total size of the linked files."""

    target: str
    to: str
    data: bytes
    files: int
    size: int


@dataclass(slots=True)
class Moves:
    """Expanded plan: files sorted by target, links, figures of versions, and items that stay, with reasons."""

    items: list[Item] = field(default_factory=list)
    links: list[LinkFile] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)


def moves(
    plan: Plan, stores: Mapping[str, ObjectStore], tree: Tree, references: References, faults: list[Fault]
) -> Moves:
    """List the sources and map every file to its target.

    Args:
        plan: Plan of the migration.
        stores: Sources by name; those that could not be opened are missing, as their faults are known already.
        tree: Tree of the project.
        references: Old and new paths; filled here.
        faults: List to which faults are added.

    """
    expanded = Moves()
    for name, objects in stores.items():
        rules = [(i, rule) for i, rule in enumerate(plan.copy) if rule.source == name]
        _copies(name, objects, rules, sources.inside(objects, tree), expanded, references, faults)
    for folder, link in plan.links.items():
        if link.source in stores:
            expanded.links += _link(folder, link, stores[link.source], faults)
            references.add_unmoved(link.source, f"{link.prefix.rstrip('/')}/" if link.prefix else "")
    for old, new in plan.rewrite.also.items():
        references.add_prefix(old, new)
    _mark_for_rewrite(plan, expanded)
    expanded.items.sort(key=lambda item: (item.target, item.source, item.key))
    expanded.figures = {name: dict(model.metrics) for name, model in plan.models.items()}
    for name, model in plan.models.items():
        if model.metrics_from and model.metrics_from.source in stores:
            location = f"models.{name}.metrics_from"
            expanded.figures[name] = _figures(location, model.metrics_from, stores, faults) | expanded.figures[name]
    faults += _collisions(expanded)
    return expanded


def _copies(
    name: str,
    objects: ObjectStore,
    rules: list[tuple[int, Copy]],
    tree_prefix: str | None,
    expanded: Moves,
    references: References,
    faults: list[Fault],
) -> None:
    """Map the files of a source by all of its rules, from one listing; files of the tree itself are skipped."""
    match_counts: Counter[int] = Counter()
    for prefix in _without_nested(patterns.literal_prefix(rule.match) for _, rule in rules):
        for entry in sources.list_source(objects, prefix):
            if tree_prefix is not None and entry.key.startswith(tree_prefix):
                continue
            is_matched = False
            for i, rule in rules:
                if patterns.matches(rule.match, entry.key) and not _excluded(rule, entry.key):
                    match_counts[i], is_matched = match_counts[i] + 1, True
                    if match_counts[i] == 1 or rule.to.endswith("/"):
                        target = (
                            rule.to if not rule.to.endswith("/") else rule.to + patterns.below(rule.match, entry.key)
                        )
                        expanded.items.append(Item(name, entry.key, target, entry.size, entry.etag))
                        common_prefix = patterns.literal_prefix(rule.match) if patterns.is_wild(rule.match) else None
                        references.add_file(name, entry.key, target, common_prefix)
            if not is_matched:
                references.add_unmoved(name, entry.key)
    for i, rule in rules:
        if not match_counts[i] and not rule.optional:
            faults.append(
                Fault(
                    f"copy[{i}].match",
                    f"{rule.match!r} matches nothing in {objects.uri}. Correct it, or set "
                    f"optional: true.{_nearest(objects, rule.match)}",
                )
            )
        elif not match_counts[i]:
            expanded.left.append((f"{objects.uri}/{rule.match}", "no file matches, and the rule is optional"))
        if match_counts[i] > 1 and not rule.to.endswith("/"):
            faults.append(
                Fault(
                    f"copy[{i}].to",
                    f"{rule.match!r} matches {match_counts[i]:,} files, but {rule.to} is a single file. End it "
                    "with '/'.",
                )
            )
    wild = _without_nested(patterns.literal_prefix(rule.match) for _, rule in rules if patterns.is_wild(rule.match))
    expanded.left += sources.hidden(objects, wild)


def _excluded(rule: Copy, key: str) -> bool:
    return any(patterns.matches(pattern, key) for pattern in rule.exclude)


def _without_nested(prefixes: Iterable[str]) -> list[str]:
    """Return the prefixes that do not begin with another one, so that nothing is listed twice."""
    outermost: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not outermost or not prefix.startswith(outermost[-1]):
            outermost.append(prefix)
    return outermost


def _nearest(objects: ObjectStore, match: str) -> str:
    """Return a hint for a pattern without matches: the most similar name in its innermost existing folder."""
    import difflib  # slow to import, and most runs do not need it

    folder = patterns.literal_prefix(match).rpartition("/")[0]
    while True:
        names = []
        for entry, _ in zip(objects.list(f"{folder}/" if folder else ""), range(1000), strict=False):
            names.append(entry.key)
        if names or not folder:
            near = difflib.get_close_matches(match, names, n=1, cutoff=0.5) or names[:3]
            return f" There is {', '.join(map(repr, near))}." if near else " The source is empty."
        folder = folder.rpartition("/")[0]


def _link(folder: str, link: LinkRule, objects: ObjectStore, faults: list[Fault]) -> Iterator[LinkFile]:
    prefix = f"{link.prefix.rstrip('/')}/" if link.prefix else ""
    files = size = 0
    for entry in objects.list(prefix):
        files, size = files + 1, size + entry.size
    if not files and not link.optional:
        message = f"there are no files below {objects.uri}/{prefix}.{_nearest(objects, prefix)}"
        faults.append(Fault(f"links.{folder}", f"{message} Correct it, or set optional: true."))
    if files:
        to = (objects.with_prefix(prefix.rstrip("/")).uri if prefix else objects.uri) + "/"
        reasons = {
            "fingerprint": "migrated: no record names its content",
            "select": "the whole folder",
            "task": "migrated, not produced by a task",
        }
        data = encode(Link(target=to, relative=False, size=size, files=files, reasons=reasons))
        yield LinkFile(f"{folder.rstrip('/')}/link.json", to, data, files, size)


def _mark_for_rewrite(plan: Plan, expanded: Moves) -> None:
    limit = plan.rewrite.limit_mb * 1_000_000
    for i, item in enumerate(expanded.items):
        is_rewritten = any(patterns.matches(pattern, item.target) for pattern in plan.rewrite.match)
        if is_rewritten and item.size > limit:
            expanded.left.append(
                (item.target, f"larger than {plan.rewrite.limit_mb} MB: copied, paths in it not rewritten")
            )
            is_rewritten = False
        if is_rewritten != item.rewrite:
            expanded.items[i] = Item(item.source, item.key, item.target, item.size, item.etag, is_rewritten)


def _collisions(expanded: Moves) -> Iterator[Fault]:
    """Yield faults for impossible targets: two files for one path, a file in place of a folder, invalid keys."""
    by_target: defaultdict[str, list[str]] = defaultdict(list)
    for item in expanded.items:
        by_target[item.target].append(f"{item.source}:{item.key}")
    for link in expanded.links:
        by_target[link.target].append(f"the link to {link.to}")
    yield from few(
        (Fault(target, f"several sources have this target: {' and '.join(map(repr, origins[:3]))}. Change one."))
        for target, origins in by_target.items()
        if len(origins) > 1
    )
    yield from few(fault for target, origins in by_target.items() if (fault := _target_fault(target, origins[0])))
    folders = {target[:i] for target in by_target for i, sign in enumerate(target) if sign == "/"}
    yield from few(
        Fault(
            target, f"is the target of a file ({by_target[target][0]!r}) and the folder of other targets. Change one."
        )
        for target in sorted(folders & set(by_target))
    )


def _target_fault(target: str, origin: str) -> Fault | None:
    try:
        require_key(target)
    except PokeflowError as error:
        return Fault(origin, f"has no valid target: {error} Exclude it, or rename it in the source.")
    if target.casefold().startswith(RESERVED):
        return Fault(
            origin, f"has the target {target!r}, but {RESERVED} is generated from receipts. Choose another target."
        )
    return None


def few(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Yield the first ``MAX_LISTED`` faults of one kind, and one with the number of the others."""
    remaining = 0
    for i, fault in enumerate(faults):
        if i < MAX_LISTED:
            yield fault
        else:
            remaining += 1
    if remaining:
        yield Fault("…", f"and {remaining:,} more like these.")


def _figures(location: str, file: Figures, stores: Mapping[str, ObjectStore], faults: list[Fault]) -> dict[str, float]:
    """Read the numbers of a JSON file, with nested ones named ``outer.inner``; add problems to ``faults``."""
    objects = stores[file.source]
    try:
        entry = objects.stat(file.file)
        if entry is None or entry.size > 1 << 20:
            reason = "the file does not exist" if entry is None else f"{entry.size:,} bytes are too many for figures"
            raise NotFoundError(f"{reason}.{_nearest(objects, file.file) if entry is None else ''}")
        figures = dict(_numbers(json.loads(objects.read(file.file)[0]), ""))
    except (PokeflowError, ValueError, RecursionError) as error:
        message = f"{str(error).rstrip('.')}. Correct metrics_from, or remove it."
        faults.append(Fault(location, f"{objects.uri}/{file.file}: {message}"))
        return {}
    if not figures or len(figures) > FIGURES:
        faults.append(
            Fault(
                location,
                (
                    f"{objects.uri}/{file.file} holds {len(figures):,} figures; 1 to {FIGURES} are expected. Name "
                    "another file."
                ),
            )
        )
        return {}
    return figures


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}" if name else str(key))
    elif name and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield name, value
