"""Steps of a migration: survey, copies with verified checksums, experiments, receipts, documents."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pokeflow.errors import ConfigError, Fault, PokeflowError
from pokeflow.objects import ABSENT, Advance, IntegrityError, each
from pokeflow.project import Tree, receipts, write_documents
from pokeflow.store import file_lock
from pokeflow_migrate import experiments, mapping, sources, versions
from pokeflow_migrate import journal as journals
from pokeflow_migrate.experiments import Brought, Entry
from pokeflow_migrate.journal import Journal, JournalEntry
from pokeflow_migrate.mapping import Item, LinkFile, Moves
from pokeflow_migrate.plan import Plan
from pokeflow_migrate.references import References
from pokeflow_migrate.report import Row
from pokeflow_migrate.survey import Around, Content, Survey, content, journal_line, survey

PROBLEMS = 20
"""Number of failed files at which the migration is stopped, because a common cause is assumed."""
FOLDER = "migrations"
"""Folder below the store's local folder that holds journals and reports."""


@dataclass(slots=True)
class Outcome:
    """Result of a migration; no receipt is written if there are any ``problems``, which could not be migrated."""

    plan: Plan
    tree: Tree
    sources: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    experiments: list[Brought] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Fault] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    documents: tuple[str, ...] = ()
    dry_run: bool = False
    changed: bool = False


def migrate(
    plan: Plan, base: Path, tree: Tree, root: Path, tracking: Mapping[str, Any] | None = None, *, dry_run: bool = False
) -> Outcome:
    """Migrate everything that the plan names.

    After a kill at any moment, the next run completes the migration; a run of a complete migration writes nothing.

    Args:
        plan: Plan of the migration.
        base: Folder of the plan.
        tree: Tree of the project.
        root: Local folder of the store.
        tracking: Parameters of the configuration's tracking store, which receives the experiments.
        dry_run: Report what would be done, without writing anything.

    Raises:
        ConfigError: Something is wrong that can be detected beforehand; nothing was written.

    """
    folder, tracking = root / FOLDER / plan.name, tracking or {}
    if dry_run:
        return _migrate(plan, base, tree, folder, tracking, dry_run=True)
    with file_lock(root / "locks" / f"migrate-{plan.name}.lock", f"migrate {plan.name}"):
        return _migrate(plan, base, tree, folder, tracking, dry_run=False)


def _migrate(
    plan: Plan, base: Path, tree: Tree, folder: Path, tracking: Mapping[str, Any], *, dry_run: bool
) -> Outcome:
    faults: list[Fault] = []
    opened = sources.open_sources(plan, base, tree, faults)
    references = References(opened, tree.objects, plan.rewrite.style)
    moves = mapping.moves(plan, opened, tree, references, faults)
    around = Around(versions.unit(plan), opened, tree, references)
    if len(opened) == len(plan.sources):
        faults += versions.check(plan, moves, tree, receipts.read_all(tree.objects))
    entries = list(experiments.entries(plan, base, tracking, faults, dry_run=dry_run))
    _raise(faults)
    journal = journals.read(folder)
    surveyed = survey(around, moves, journal, faults)
    _raise(faults)
    outcome = Outcome(plan, tree, {name: objects.uri for name, objects in opened.items()}, dry_run=dry_run)
    outcome.left = moves.left
    outcome.rows += [_superseded(around, item, by) for item, by in surveyed.superseded]
    outcome.rows += [_row(done, "there already") for done in surveyed.there]
    outcome.rows += [_link_row(link, "there already") for link in surveyed.links_there]
    if dry_run:
        outcome.rows += _would(around, surveyed)
        _bring_experiments(entries, None, outcome)
    else:
        _do(plan, around, moves, surveyed, journal, entries, outcome)
    outcome.rows.sort(key=lambda row: row.target)
    return outcome


def _raise(faults: list[Fault]) -> None:
    if faults:
        raise ConfigError(faults)


def _bring_experiments(entries: list[Entry], folder: Path | None, outcome: Outcome) -> None:
    for entry in entries:
        brought = experiments.bring(entry, folder)
        outcome.experiments.append(brought)
        outcome.left += brought.left
        outcome.problems += brought.problems
        outcome.changed = outcome.changed or any(row.done.endswith("copied") for row in brought.rows)


def _do(
    plan: Plan,
    around: Around,
    moves: Moves,
    surveyed: Survey,
    journal: Journal,
    entries: list[Entry],
    outcome: Outcome,
) -> None:
    try:
        for done in surveyed.there:
            if journal.known.get(done.target) != done:
                journal.add(done)
        brought = _copy(around, surveyed.todo, journal, outcome.problems)
    finally:
        journal.close()
    outcome.rows += [_row(done, "rewritten" if done.replacements else "copied") for done in brought]
    outcome.changed = bool(brought or surveyed.links)
    failed = {fault.path for fault in outcome.problems}
    outcome.rows += [_planned(around, item, "failed") for item in surveyed.todo if item.target in failed]
    _bring_experiments(entries, journal.file.with_name(experiments.NAME), outcome)
    if outcome.problems:
        return
    for link, etag in surveyed.links:
        around.tree.objects.write(link.target, link.data, match=etag or ABSENT)
        outcome.rows.append(_link_row(link, "linked"))
    for receipt in versions.build_receipts(plan, around, moves, [*surveyed.there, *brought], outcome.experiments):
        receipts.put(around.tree.objects, receipt)
        outcome.receipts.append(receipts.key(receipt.unit))
    outcome.documents = write_documents(around.tree)


def _copy(around: Around, todo: list[Item], journal: Journal, problems: list[Fault]) -> list[JournalEntry]:
    brought: list[JournalEntry] = []

    def one(item: Item, advance: Advance) -> None:
        try:
            done = _bring(around, item, advance)
        except PokeflowError as error:
            problems.append(Fault(item.target, str(error)))
            if len(problems) >= PROBLEMS:
                raise
            return
        journal.add(done)
        brought.append(done)

    each(one, todo, label="migrating", total=sum(item.size for item in todo))
    problems.sort(key=lambda fault: fault.path)
    return brought


def _bring(around: Around, item: Item, advance: Advance) -> JournalEntry:
    objects, source = around.tree.objects, around.sources[item.source]
    new = content(around, item, advance)
    if new.data is None:
        arrived = objects.copy(source, item.key, item.target, match=ABSENT, advance=advance)
        entry = objects.stat(item.target)
        how = "copied by the server" if objects.copies_on_server(source) else "copied"
        verified = f"{new.how} = what arrived"
    else:
        objects.write(item.target, new.data, match=ABSENT)
        advance(item.size)
        entry = objects.stat(item.target)
        arrived = (entry and entry.sha256) or objects.sha256(item.target)
        how = "rewritten" if new.replacements else "copied"
        verified = "the tree's own sha256" if entry and entry.sha256 else "read back"
    if entry is None or arrived != new.sha256 or entry.size != new.size:
        # This call wrote the file itself, as the write required that the path did not exist.
        objects.delete(item.target)
        raise IntegrityError(_damage(around, item, new, arrived))
    return journal_line(around, item, new, entry, how, verified)


def _damage(around: Around, item: Item, new: Content, arrived: str) -> str:
    return (
        f"{around.origin(item)} is sha256 {new.sha256[:12]}… and what arrived is {arrived[:12]}…: it changed while it "
        "was copied, or the copy was damaged. What arrived was removed; run it again."
    )


def _would(around: Around, surveyed: Survey) -> Iterator[Row]:
    """Yield the rows of a dry run; files to rewrite are read to count the paths in them."""
    contents: dict[str, Content] = {}

    def one(item: Item, advance: Advance) -> None:
        contents[item.target] = content(around, item, advance)
        advance(item.size)

    to_read = [item for item in surveyed.todo if item.rewrite]
    each(one, to_read, label="reading", total=sum(item.size for item in to_read))
    for item in surveyed.todo:
        if (new := contents.get(item.target)) is None:
            yield _planned(around, item, "to copy")
        else:
            done = "to rewrite" if new.replacements else "to copy"
            origin = around.origin(item)
            before, after = new.source_sha256, new.sha256
            yield Row(origin, item.target, new.size, after, before, done, new.replacements, new.left, "", new.note)
    for link, _ in surveyed.links:
        yield _link_row(link, "to link")


def _row(done: JournalEntry, what: str) -> Row:
    counts = (done.replacements, done.left)
    return Row(
        done.origin, done.target, done.size, done.sha256, done.source_sha256, what, *counts, done.verified, done.note
    )


def _planned(around: Around, item: Item, what: str) -> Row:
    return Row(around.origin(item), item.target, item.size, "", "", what)


def _superseded(around: Around, item: Item, by: str) -> Row:
    return Row(around.origin(item), item.target, item.size, "", "", "superseded", note=f"{by} has replaced it since")


def _link_row(link: LinkFile, what: str) -> Row:
    note = f"{link.files:,} files, {link.size:,} B stay where they are"
    return Row(link.to, link.target, len(link.data), hashlib.sha256(link.data).hexdigest(), "", what, note=note)
