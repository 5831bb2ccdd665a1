"""Survey of the tree for a migration: which files exist with the right bytes, are missing, or conflict."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pokeflow import text
from pokeflow.errors import Fault
from pokeflow.objects import Advance, NotFoundError, ObjectInfo, ObjectStore, each
from pokeflow.project import PublishedFile, Receipt, Tree, inventory, receipts
from pokeflow_migrate.journal import Journal, JournalEntry
from pokeflow_migrate.mapping import Item, LinkFile, Moves, few
from pokeflow_migrate.references import References
from pokeflow_migrate.rewrite import rewrite


@dataclass(frozen=True, slots=True)
class Content:
    """Content of a file in the tree: checksums before and after rewriting, size, and the bytes if rewriting applies.

    ``how`` describes the origin of the source's checksum.
    """

    etag: str
    source_sha256: str
    sha256: str
    size: int
    how: str
    data: bytes | None = None
    replacements: int = 0
    left: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Context of all steps of a migration: its unit, its sources, the tree, and the new locations of old paths."""

    unit: str
    sources: Mapping[str, ObjectStore]
    tree: Tree
    references: References

    def origin(self, item: Item) -> str:
        """Return the URI of a file in its source."""
        return f"{self.sources[item.source].uri}/{item.key}"


@dataclass(slots=True)
class Survey:
    """Result of a survey: each file is in exactly one of ``existing``, ``todo`` and ``superseded`` (with successor).

    ``links`` are the links to write, each with the ETag of the link of this migration that it replaces, or "".
    """

    existing: list[JournalEntry] = field(default_factory=list)
    todo: list[Item] = field(default_factory=list)
    superseded: list[tuple[Item, str]] = field(default_factory=list)
    links: list[tuple[LinkFile, str]] = field(default_factory=list)
    existing_links: list[LinkFile] = field(default_factory=list)


def content(context: Context, item: Item, advance: Advance) -> Content:
    """Return the content that a file will have in the tree; raise NotFoundError if its source file is gone."""
    source = context.sources[item.source]
    if item.rewrite:
        data, etag = source.read(item.key)
        new = rewrite(data, item.target, context.references)
        before, after = hashlib.sha256(data).hexdigest(), hashlib.sha256(new.data).hexdigest()
        facts = (new.replacements, new.left, new.note)
        return Content(etag, before, after, len(new.data), "source read", new.data, *facts)
    entry = source.stat(item.key)
    if entry is None:
        raise NotFoundError(f"{context.origin(item)}: was deleted after it was listed. Run the same command again.")
    if entry.sha256:
        return Content(entry.etag, entry.sha256, entry.sha256, entry.size, "source's own sha256")
    read = source.sha256(item.key, advance=lambda _: advance(0))
    return Content(entry.etag, read, read, entry.size, "source read")


def survey(context: Context, moves: Moves, journal: Journal, faults: list[Fault]) -> Survey:
    """Compare all files and links with the tree, by listing and journal if sufficient, else by checksum.

    Args:
        context: Context of the migration.
        moves: Files and links to migrate.
        journal: Journal of earlier runs.
        faults: List to which conflicts are added.

    """
    result = Survey()
    known_receipts = receipts.read_all(context.tree.objects)
    comparison = _Comparison(context, journal, inventory.current(known_receipts), known_receipts)
    targets = {item.target for item in moves.items} | {link.target for link in moves.links}
    existing = {entry.key: entry for entry in _list_targets(context.tree.objects, targets) if entry.key in targets}
    unsure: list[tuple[Item, ObjectInfo | None]] = []
    for item in moves.items:
        entry = existing.get(item.target)
        if (line := comparison.find_line(item, entry)) is not None:
            result.existing.append(line)
        elif entry is None and item.target not in comparison.current:
            result.todo.append(item)
        else:
            unsure.append((item, entry))
    conflicts: list[Fault] = []

    def compare_one(pair: tuple[Item, ObjectInfo | None], advance: Advance) -> None:
        item, entry = pair
        comparison.compare(item, entry, result, conflicts, advance)
        advance(item.size)

    each(compare_one, unsure, label="comparing", total=sum(item.size for item, _ in unsure))
    for link in moves.links:
        comparison.link(link, existing.get(link.target), result, conflicts)
    result.existing.sort(key=lambda line: line.target)
    result.todo.sort(key=lambda item: item.target)
    faults += few(sorted(conflicts, key=lambda fault: fault.path))
    return result


@dataclass(frozen=True, slots=True)
class _Comparison:
    context: Context
    journal: Journal
    current: Mapping[str, tuple[Receipt, PublishedFile]]
    known: Iterable[Receipt]

    def find_line(self, item: Item, entry: ObjectInfo | None) -> JournalEntry | None:
        """Return the journal's line of a file if it proves that the file is complete.

        It never does for a file to rewrite, as the replacements may differ from those of the earlier run.
        """
        line = self.journal.known.get(item.target)
        published = self.current.get(item.target)
        if line is None or entry is None or item.rewrite or (published and published[1].sha256 != line.sha256):
            return None
        now = (self.context.origin(item), item.etag, entry.etag)
        return line if now == (line.origin, line.source_etag, line.target_etag) else None

    def compare(
        self, item: Item, entry: ObjectInfo | None, result: Survey, conflicts: list[Fault], advance: Advance
    ) -> None:
        published = self.current.get(item.target)
        if published is None and entry is not None and not item.rewrite and entry.size != item.size:
            conflicts.append(_conflict(item, entry, f"the source has {text.format_size(item.size)} ({item.size:,} B)"))
            return
        expected = content(self.context, item, advance)
        if published is not None and published[1].sha256 != expected.sha256:
            publisher = f"{published[0].model} {published[0].version}" if published[0].version else published[0].unit
            if (
                published[0].unit != self.context.unit
                and not published[1].fixed
                and self._was_published_here(item.target, expected.sha256)
            ):
                result.superseded.append((item, publisher))
                return
            message = (
                f"{publisher} has published other bytes here ({published[1].sha256[:12]}…; "
                f"{self.context.origin(item)} would be "
                f"{expected.sha256[:12]}…). Published files are not changed. Choose another target or version."
            )
            conflicts.append(Fault(item.target, message))
        elif entry is None:
            result.todo.append(item)
        elif (
            entry.size != expected.size
            or (actual := self._existing_sha256(item.target, entry, advance)) != expected.sha256
        ):
            difference = f"sha256 {actual[:12]}…" if entry.size == expected.size else text.format_size(entry.size)
            conflicts.append(_conflict(item, entry, f"expected sha256 {expected.sha256[:12]}…, not {difference}"))
        else:
            result.existing.append(self._journal_line(item, entry, expected))

    def _journal_line(self, item: Item, entry: ObjectInfo, expected: Content) -> JournalEntry:
        before = self.journal.known.get(item.target)
        is_same = before is not None and (before.sha256, before.target_etag) == (expected.sha256, entry.etag)
        if before is not None and is_same and before.source_etag == expected.etag:
            return before
        return journal_line(
            self.context, item, expected, entry, "there", f"{expected.how}, compared with the existing file"
        )

    def _was_published_here(self, path: str, sha256: str) -> bool:
        own_receipt = next((receipt for receipt in self.known if receipt.unit == self.context.unit), None)
        return any(file.path == path and file.sha256 == sha256 for file in (own_receipt.files if own_receipt else ()))

    def _existing_sha256(self, path: str, entry: ObjectInfo, advance: Advance) -> str:
        line = self.journal.known.get(path)
        if line is not None and line.target_etag == entry.etag:
            return line.sha256
        objects = self.context.tree.objects
        info = objects.stat(path)
        return (info and info.sha256) or objects.sha256(path, advance=lambda _: advance(0))

    def link(self, link: LinkFile, entry: ObjectInfo | None, result: Survey, conflicts: list[Fault]) -> None:
        """Classify a link: replace that of an earlier run of this migration, and report any other one as a fault."""
        sha256 = hashlib.sha256(link.data).hexdigest()
        published = self.current.get(link.target)
        if entry is None:
            if published is None or published[1].sha256 == sha256 or published[0].unit == self.context.unit:
                result.links.append((link, ""))
                return
        else:
            existing_sha256 = self.context.tree.objects.sha256(link.target)
            if existing_sha256 == sha256:
                result.existing_links.append(link)
                return
            if self._was_published_here(link.target, existing_sha256):
                result.links.append((link, entry.etag))
                return
        publisher = f"of {published[0].unit}" if published else "that is in no receipt"
        conflicts.append(Fault(link.target, f"another link exists here, {publisher}. Remove this one from the plan."))


def journal_line(
    context: Context, item: Item, new: Content, entry: ObjectInfo, how: str, verified: str
) -> JournalEntry:
    """Return the journal's line for a file in the tree.

    Args:
        context: Context of the migration.
        item: The file to copy.
        new: Its content.
        entry: The file in the tree.
        how: How it was copied.
        verified: How its checksum was verified.

    """
    return JournalEntry(
        target=item.target,
        origin=context.origin(item),
        source_etag=new.etag,
        source_sha256=new.source_sha256,
        target_etag=entry.etag,
        size=new.size,
        sha256=new.sha256,
        replacements=new.replacements,
        left=new.left,
        how=how,
        verified=verified,
        note=new.note,
    )


def _conflict(item: Item, entry: ObjectInfo, reason: str) -> Fault:
    return Fault(
        item.target,
        f"the file already exists with other bytes ({entry.size:,} B; {reason}) and is in no receipt. "
        "Remove it, or choose another target.",
    )


def _list_targets(objects: ObjectStore, targets: Iterable[str]) -> Iterator[ObjectInfo]:
    """List the tree below the common folders of these paths, with one listing per top folder."""
    spans: dict[str, tuple[str, str]] = {}
    for target in targets:
        top = target.partition("/")[0]
        low, high = spans.get(top, (target, target))
        spans[top] = (min(low, target), max(high, target))
    for low, high in spans.values():
        length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
        # The prefix is the path itself for a single file, else the innermost folder that contains all paths.
        yield from objects.list(low if low == high else low[: low.rfind("/", 0, length) + 1] or low[:length])
