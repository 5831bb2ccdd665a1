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
from pokeflow_migrate.experiments import Entry, MigratedExperiments
from pokeflow_migrate.journal import Journal, JournalEntry
from pokeflow_migrate.mapping import Item, LinkFile, Moves
from pokeflow_migrate.plan import Plan
from pokeflow_migrate.references import References
from pokeflow_migrate.report import Row
from pokeflow_migrate.survey import Content, Context, Survey, content, journal_line, survey

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
    experiments: list[MigratedExperiments] = field(default_factory=list)
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
    stores = sources.open_sources(plan, base, tree, faults)
    references = References(stores, tree.objects, plan.rewrite.style)
    moves = mapping.moves(plan, stores, tree, references, faults)
    context = Context(versions.unit(plan), stores, tree, references)
    if len(stores) == len(plan.sources):
        faults += versions.check(plan, moves, tree, receipts.read_all(tree.objects))
    entries = list(experiments.entries(plan, base, tracking, faults, dry_run=dry_run))
    _raise_if_any(faults)
    journal = journals.read(folder)
    state = survey(context, moves, journal, faults)
    _raise_if_any(faults)
    outcome = Outcome(plan, tree, {name: objects.uri for name, objects in stores.items()}, dry_run=dry_run)
    outcome.left = moves.left
    outcome.rows += [_superseded_row(context, item, by) for item, by in state.superseded]
    outcome.rows += [_row(entry, "there already") for entry in state.existing]
    outcome.rows += [_link_row(link, "there already") for link in state.existing_links]
    if dry_run:
        outcome.rows += _dry_run_rows(context, state)
        _migrate_experiments(entries, None, outcome)
    else:
        _execute(plan, context, moves, state, journal, entries, outcome)
    outcome.rows.sort(key=lambda row: row.target)
    return outcome


def _raise_if_any(faults: list[Fault]) -> None:
    if faults:
        raise ConfigError(faults)


def _migrate_experiments(entries: list[Entry], folder: Path | None, outcome: Outcome) -> None:
    for entry in entries:
        migrated = experiments.migrate_entry(entry, folder)
        outcome.experiments.append(migrated)
        outcome.left += migrated.left
        outcome.problems += migrated.problems
        outcome.changed = outcome.changed or any(row.done.endswith("copied") for row in migrated.rows)


def _execute(
    plan: Plan,
    context: Context,
    moves: Moves,
    state: Survey,
    journal: Journal,
    entries: list[Entry],
    outcome: Outcome,
) -> None:
    try:
        for entry in state.existing:
            if journal.known.get(entry.target) != entry:
                journal.add(entry)
        copied = _copy(context, state.todo, journal, outcome.problems)
    finally:
        journal.close()
    outcome.rows += [_row(entry, "rewritten" if entry.replacements else "copied") for entry in copied]
    outcome.changed = bool(copied or state.links)
    failed = {fault.path for fault in outcome.problems}
    outcome.rows += [_planned_row(context, item, "failed") for item in state.todo if item.target in failed]
    _migrate_experiments(entries, journal.file.with_name(experiments.NAME), outcome)
    if outcome.problems:
        return
    for link, etag in state.links:
        context.tree.objects.write(link.target, link.data, match=etag or ABSENT)
        outcome.rows.append(_link_row(link, "linked"))
    for receipt in versions.build_receipts(plan, context, moves, [*state.existing, *copied], outcome.experiments):
        receipts.put(context.tree.objects, receipt)
        outcome.receipts.append(receipts.key(receipt.unit))
    outcome.documents = write_documents(context.tree)


def _copy(context: Context, todo: list[Item], journal: Journal, problems: list[Fault]) -> list[JournalEntry]:
    copied: list[JournalEntry] = []

    def copy_one(item: Item, advance: Advance) -> None:
        try:
            entry = _copy_item(context, item, advance)
        except PokeflowError as error:
            problems.append(Fault(item.target, str(error)))
            if len(problems) >= PROBLEMS:
                raise
            return
        journal.add(entry)
        copied.append(entry)

    each(copy_one, todo, label="migrating", total=sum(item.size for item in todo))
    problems.sort(key=lambda fault: fault.path)
    return copied


def _copy_item(context: Context, item: Item, advance: Advance) -> JournalEntry:
    objects, source = context.tree.objects, context.sources[item.source]
    expected = content(context, item, advance)
    if expected.data is None:
        actual = objects.copy(source, item.key, item.target, match=ABSENT, advance=advance)
        entry = objects.stat(item.target)
        how = "copied by the server" if objects.copies_on_server(source) else "copied"
        verified = f"{expected.how} = sha256 of the copy"
    else:
        objects.write(item.target, expected.data, match=ABSENT)
        advance(item.size)
        entry = objects.stat(item.target)
        actual = (entry and entry.sha256) or objects.sha256(item.target)
        how = "rewritten" if expected.replacements else "copied"
        verified = "the tree's own sha256" if entry and entry.sha256 else "read back"
    if entry is None or actual != expected.sha256 or entry.size != expected.size:
        # This call wrote the file itself, as the write required that the path did not exist.
        objects.delete(item.target)
        raise IntegrityError(_damage_message(context, item, expected, actual))
    return journal_line(context, item, expected, entry, how, verified)


def _damage_message(context: Context, item: Item, expected: Content, actual: str) -> str:
    return (
        f"{context.origin(item)} is sha256 {expected.sha256[:12]}… but the copy is {actual[:12]}…: the "
        "source changed while it "
        "was copied, or the copy was damaged. The copy was removed; run the same command again."
    )


def _dry_run_rows(context: Context, state: Survey) -> Iterator[Row]:
    """Yield the rows of a dry run; files to rewrite are read to count the paths in them."""
    contents: dict[str, Content] = {}

    def read_one(item: Item, advance: Advance) -> None:
        contents[item.target] = content(context, item, advance)
        advance(item.size)

    to_read = [item for item in state.todo if item.rewrite]
    each(read_one, to_read, label="reading", total=sum(item.size for item in to_read))
    for item in state.todo:
        if (new := contents.get(item.target)) is None:
            yield _planned_row(context, item, "to copy")
        else:
            action = "to rewrite" if new.replacements else "to copy"
            origin = context.origin(item)
            before, after = new.source_sha256, new.sha256
            yield Row(origin, item.target, new.size, after, before, action, new.replacements, new.left, "", new.note)
    for link, _ in state.links:
        yield _link_row(link, "to link")


def _row(entry: JournalEntry, action: str) -> Row:
    counts = (entry.replacements, entry.left)
    return Row(
        entry.origin,
        entry.target,
        entry.size,
        entry.sha256,
        entry.source_sha256,
        action,
        *counts,
        entry.verified,
        entry.note,
    )


def _planned_row(context: Context, item: Item, action: str) -> Row:
    return Row(context.origin(item), item.target, item.size, "", "", action)


def _superseded_row(context: Context, item: Item, by: str) -> Row:
    return Row(context.origin(item), item.target, item.size, "", "", "superseded", note=f"{by} has replaced it")


def _link_row(link: LinkFile, action: str) -> Row:
    note = f"{link.files:,} files, {link.size:,} B are linked, not copied"
    return Row(link.to, link.target, len(link.data), hashlib.sha256(link.data).hexdigest(), "", action, note=note)
