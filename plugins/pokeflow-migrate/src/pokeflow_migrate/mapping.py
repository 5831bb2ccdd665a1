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
from pokeflow_migrate.plan import KEPT, Copy, Figures, LinkRule, Plan
from pokeflow_migrate.references import References

FIGURES = 200
"""Maximum number of figures of a version."""
SHOWN = 20
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
    plan: Plan, opened: Mapping[str, ObjectStore], tree: Tree, references: References, faults: list[Fault]
) -> Moves:
    """List the sources and map every file to its target.

    Args:
        plan: Plan of the migration.
        opened: Sources by name; those that could not be opened are missing, as their faults are known already.
        tree: Tree of the project.
        references: Old and new paths; filled here.
        faults: List to which faults are added.

    """
    planned = Moves()
    for name, objects in opened.items():
        rules = [(i, rule) for i, rule in enumerate(plan.copy) if rule.source == name]
        _copies(name, objects, rules, sources.inside(objects, tree), planned, references, faults)
    for folder, link in plan.links.items():
        if link.source in opened:
            planned.links += _link(folder, link, opened[link.source], faults)
            references.stays(link.source, f"{link.prefix.rstrip('/')}/" if link.prefix else "")
    for old, new in plan.rewrite.also.items():
        references.also(old, new)
    _choose_rewritten(plan, planned)
    planned.items.sort(key=lambda item: (item.target, item.source, item.key))
    planned.figures = {name: dict(model.metrics) for name, model in plan.models.items()}
    for name, model in plan.models.items():
        if model.metrics_from and model.metrics_from.source in opened:
            where = f"models.{name}.metrics_from"
            planned.figures[name] = _figures(where, model.metrics_from, opened, faults) | planned.figures[name]
    faults += _collisions(planned)
    return planned


def _copies(
    name: str,
    objects: ObjectStore,
    rules: list[tuple[int, Copy]],
    own: str | None,
    planned: Moves,
    references: References,
    faults: list[Fault],
) -> None:
    """Map the files of a source by all of its rules, from one listing; files of the tree itself are skipped."""
    taken: Counter[int] = Counter()
    for prefix in _apart(patterns.literal_prefix(rule.match) for _, rule in rules):
        for entry in sources.list_source(objects, prefix):
            if own is not None and entry.key.startswith(own):
                continue
            is_taken = False
            for i, rule in rules:
                if patterns.matches(rule.match, entry.key) and not _excluded(rule, entry.key):
                    taken[i], is_taken = taken[i] + 1, True
                    if taken[i] == 1 or rule.to.endswith("/"):
                        target = (
                            rule.to if not rule.to.endswith("/") else rule.to + patterns.below(rule.match, entry.key)
                        )
                        planned.items.append(Item(name, entry.key, target, entry.size, entry.etag))
                        seen = patterns.literal_prefix(rule.match) if patterns.is_wild(rule.match) else None
                        references.file(name, entry.key, target, seen)
            if not is_taken:
                references.stays(name, entry.key)
    for i, rule in rules:
        if not taken[i] and not rule.optional:
            faults.append(
                Fault(
                    f"copy[{i}].match",
                    f"{rule.match!r} matches nothing in {objects.uri}. Correct it, or set "
                    f"optional: true.{_nearest(objects, rule.match)}",
                )
            )
        elif not taken[i]:
            planned.left.append((f"{objects.uri}/{rule.match}", "nothing lies there, and it is optional"))
        if taken[i] > 1 and not rule.to.endswith("/"):
            faults.append(
                Fault(
                    f"copy[{i}].to", f"{rule.match!r} finds {taken[i]:,} files, and {rule.to} is one. End it with '/'."
                )
            )
    wild = _apart(patterns.literal_prefix(rule.match) for _, rule in rules if patterns.is_wild(rule.match))
    planned.left += sources.hidden(objects, wild)


def _excluded(rule: Copy, key: str) -> bool:
    return any(patterns.matches(pattern, key) for pattern in rule.exclude)


def _apart(prefixes: Iterable[str]) -> list[str]:
    """Return the prefixes that do not begin with another one, so that nothing is listed twice."""
    apart: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not apart or not prefix.startswith(apart[-1]):
            apart.append(prefix)
    return apart


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
            return f" There is {', '.join(map(repr, near))}." if near else " Nothing at all lies there."
        folder = folder.rpartition("/")[0]


def _link(folder: str, link: LinkRule, objects: ObjectStore, faults: list[Fault]) -> Iterator[LinkFile]:
    prefix = f"{link.prefix.rstrip('/')}/" if link.prefix else ""
    files = size = 0
    for entry in objects.list(prefix):
        files, size = files + 1, size + entry.size
    if not files and not link.optional:
        message = f"nothing lies at {objects.uri}/{prefix}.{_nearest(objects, prefix)}"
        faults.append(Fault(f"links.{folder}", f"{message} Correct it, or set optional: true."))
    if files:
        to = (objects.with_prefix(prefix.rstrip("/")).uri if prefix else objects.uri) + "/"
        reasons = {
            "fingerprint": "migrated: no record names its content",
            "select": "all of it",
            "task": "migrated: no task made it",
        }
        data = encode(Link(target=to, relative=False, size=size, files=files, reasons=reasons))
        yield LinkFile(f"{folder.rstrip('/')}/link.json", to, data, files, size)


def _choose_rewritten(plan: Plan, planned: Moves) -> None:
    limit = plan.rewrite.limit_mb * 1_000_000
    for i, item in enumerate(planned.items):
        wanted = any(patterns.matches(pattern, item.target) for pattern in plan.rewrite.match)
        if wanted and item.size > limit:
            planned.left.append(
                (item.target, f"larger than {plan.rewrite.limit_mb} MB: copied, paths in it not rewritten")
            )
            wanted = False
        if wanted != item.rewrite:
            planned.items[i] = Item(item.source, item.key, item.target, item.size, item.etag, wanted)


def _collisions(planned: Moves) -> Iterator[Fault]:
    """Yield faults for impossible targets: two files for one path, a file in place of a folder, invalid keys."""
    by_target: defaultdict[str, list[str]] = defaultdict(list)
    for item in planned.items:
        by_target[item.target].append(f"{item.source}:{item.key}")
    for link in planned.links:
        by_target[link.target].append(f"the link to {link.to}")
    yield from few(
        (Fault(target, f"two things belong here: {' and '.join(map(repr, origins[:3]))}. Give one another place."))
        for target, origins in by_target.items()
        if len(origins) > 1
    )
    yield from few(fault for target, origins in by_target.items() if (fault := _wrong(target, origins[0])))
    folders = {target[:i] for target in by_target for i, sign in enumerate(target) if sign == "/"}
    yield from few(
        Fault(target, f"is a file ({by_target[target][0]!r}), and other files belong below it.")
        for target in sorted(folders & set(by_target))
    )


def _wrong(target: str, origin: str) -> Fault | None:
    try:
        require_key(target)
    except PokeflowError as error:
        return Fault(origin, f"cannot be placed: {error} Exclude it, or rename it where it lies.")
    if target.casefold().startswith(KEPT):
        return Fault(origin, f"would lie at {target!r}, and {KEPT} is written from receipts alone.")
    return None


def few(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Yield the first ``SHOWN`` faults of one kind, and one with the number of the others."""
    more = 0
    for i, fault in enumerate(faults):
        if i < SHOWN:
            yield fault
        else:
            more += 1
    if more:
        yield Fault("…", f"and {more:,} more like these.")


def _figures(where: str, at: Figures, opened: Mapping[str, ObjectStore], faults: list[Fault]) -> dict[str, float]:
    """Read the numbers of a JSON file, with nested ones named ``outer.inner``; add problems to ``faults``."""
    objects = opened[at.source]
    try:
        entry = objects.stat(at.file)
        if entry is None or entry.size > 1 << 20:
            what = "there is no such file" if entry is None else f"{entry.size:,} bytes are no list of figures"
            raise NotFoundError(f"{what}.{_nearest(objects, at.file) if entry is None else ''}")
        numbers = dict(_numbers(json.loads(objects.read(at.file)[0]), ""))
    except (PokeflowError, ValueError, RecursionError) as error:
        faults.append(Fault(where, f"{objects.uri}/{at.file}: {error}"))
        return {}
    if not numbers or len(numbers) > FIGURES:
        faults.append(
            Fault(where, f"{objects.uri}/{at.file} holds {len(numbers):,} figures; 1 to {FIGURES} are expected.")
        )
        return {}
    return numbers


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}" if name else str(key))
    elif name and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield name, value
