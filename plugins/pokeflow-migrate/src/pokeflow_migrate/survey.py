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
class Around:
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
    """Result of a survey: every file is in exactly one of ``there``, ``todo`` and ``superseded`` (with its successor).

    ``links`` are the links to write, each with the ETag of the link of this migration that it replaces, or "".
    """

    there: list[JournalEntry] = field(default_factory=list)
    todo: list[Item] = field(default_factory=list)
    superseded: list[tuple[Item, str]] = field(default_factory=list)
    links: list[tuple[LinkFile, str]] = field(default_factory=list)
    links_there: list[LinkFile] = field(default_factory=list)


def content(around: Around, item: Item, advance: Advance) -> Content:
    """Return the content that a file will have in the tree; raise NotFoundError if its source file is gone."""
    source = around.sources[item.source]
    if item.rewrite:
        data, etag = source.read(item.key)
        new = rewrite(data, item.target, around.references)
        before, after = hashlib.sha256(data).hexdigest(), hashlib.sha256(new.data).hexdigest()
        facts = (new.replacements, new.left, new.note)
        return Content(etag, before, after, len(new.data), "source read", new.data, *facts)
    entry = source.stat(item.key)
    if entry is None:
        raise NotFoundError(f"{around.origin(item)}: is gone since it was listed.")
    if entry.sha256:
        return Content(entry.etag, entry.sha256, entry.sha256, entry.size, "source's own sha256")
    read = source.sha256(item.key, advance=lambda _: advance(0))
    return Content(entry.etag, read, read, entry.size, "source read")


def survey(around: Around, moves: Moves, journal: Journal, faults: list[Fault]) -> Survey:
    """Compare all files and links with the tree, by listing and journal if sufficient, else by checksum.

    Args:
        around: Context of the migration.
        moves: Files and links to migrate.
        journal: Journal of earlier runs.
        faults: List to which conflicts are added.

    """
    surveyed = Survey()
    known = receipts.read_all(around.tree.objects)
    looked = _Looked(around, journal, inventory.current(known), known)
    targets = {item.target for item in moves.items} | {link.target for link in moves.links}
    there = {entry.key: entry for entry in _listed(around.tree.objects, targets) if entry.key in targets}
    unsure: list[tuple[Item, ObjectInfo | None]] = []
    for item in moves.items:
        entry = there.get(item.target)
        if (done := looked.done(item, entry)) is not None:
            surveyed.there.append(done)
        elif entry is None and item.target not in looked.counting:
            surveyed.todo.append(item)
        else:
            unsure.append((item, entry))
    reported: list[Fault] = []

    def one(pair: tuple[Item, ObjectInfo | None], advance: Advance) -> None:
        item, entry = pair
        looked.compare(item, entry, surveyed, reported, advance)
        advance(item.size)

    each(one, unsure, label="comparing", total=sum(item.size for item, _ in unsure))
    for link in moves.links:
        looked.link(link, there.get(link.target), surveyed, reported)
    surveyed.there.sort(key=lambda done: done.target)
    surveyed.todo.sort(key=lambda item: item.target)
    faults += few(sorted(reported, key=lambda fault: fault.path))
    return surveyed


@dataclass(frozen=True, slots=True)
class _Looked:
    around: Around
    journal: Journal
    counting: Mapping[str, tuple[Receipt, PublishedFile]]
    known: Iterable[Receipt]

    def done(self, item: Item, entry: ObjectInfo | None) -> JournalEntry | None:
        """Return the journal's line of a file if it proves that the file is complete.

        It never does for a file to rewrite, as the replacements may differ from those of the earlier run.
        """
        done = self.journal.known.get(item.target)
        held = self.counting.get(item.target)
        if done is None or entry is None or item.rewrite or (held and held[1].sha256 != done.sha256):
            return None
        now = (self.around.origin(item), item.etag, entry.etag)
        return done if now == (done.origin, done.source_etag, done.target_etag) else None

    def compare(
        self, item: Item, entry: ObjectInfo | None, surveyed: Survey, reported: list[Fault], advance: Advance
    ) -> None:
        held = self.counting.get(item.target)
        if held is None and entry is not None and not item.rewrite and entry.size != item.size:
            reported.append(_in_the_way(item, entry, f"the source has {text.format_size(item.size)} ({item.size:,} B)"))
            return
        wanted = content(self.around, item, advance)
        if held is not None and held[1].sha256 != wanted.sha256:
            by = f"{held[0].model} {held[0].version}" if held[0].version else held[0].unit
            if held[0].unit != self.around.unit and not held[1].fixed and self._was_ours(item.target, wanted.sha256):
                surveyed.superseded.append((item, by))
                return
            message = (
                f"{by} is published with other bytes here ({held[1].sha256[:12]}…; {self.around.origin(item)} would be "
                f"{wanted.sha256[:12]}…). What is published stays: choose another place or version."
            )
            reported.append(Fault(item.target, message))
        elif entry is None:
            surveyed.todo.append(item)
        elif entry.size != wanted.size or (actual := self._actual(item.target, entry, advance)) != wanted.sha256:
            what = f"sha256 {actual[:12]}…" if entry.size == wanted.size else text.format_size(entry.size)
            reported.append(_in_the_way(item, entry, f"it would be sha256 {wanted.sha256[:12]}… here, and is {what}"))
        else:
            surveyed.there.append(self._line(item, entry, wanted))

    def _line(self, item: Item, entry: ObjectInfo, wanted: Content) -> JournalEntry:
        before = self.journal.known.get(item.target)
        is_same = before is not None and (before.sha256, before.target_etag) == (wanted.sha256, entry.etag)
        if before is not None and is_same and before.source_etag == wanted.etag:
            return before
        return journal_line(self.around, item, wanted, entry, "there", f"{wanted.how}, compared with what is there")

    def _was_ours(self, path: str, sha256: str) -> bool:
        own = next((receipt for receipt in self.known if receipt.unit == self.around.unit), None)
        return any(file.path == path and file.sha256 == sha256 for file in (own.files if own else ()))

    def _actual(self, path: str, entry: ObjectInfo, advance: Advance) -> str:
        done = self.journal.known.get(path)
        if done is not None and done.target_etag == entry.etag:
            return done.sha256
        objects = self.around.tree.objects
        there = objects.stat(path)
        return (there and there.sha256) or objects.sha256(path, advance=lambda _: advance(0))

    def link(self, link: LinkFile, entry: ObjectInfo | None, surveyed: Survey, reported: list[Fault]) -> None:
        """Classify a link: replace that of an earlier run of this migration, and report any other one as a fault."""
        sha256 = hashlib.sha256(link.data).hexdigest()
        held = self.counting.get(link.target)
        if entry is None:
            if held is None or held[1].sha256 == sha256 or held[0].unit == self.around.unit:
                surveyed.links.append((link, ""))
                return
        else:
            there = self.around.tree.objects.sha256(link.target)
            if there == sha256:
                surveyed.links_there.append(link)
                return
            if self._was_ours(link.target, there):
                surveyed.links.append((link, entry.etag))
                return
        by = f"of {held[0].unit}" if held else "that no receipt names"
        reported.append(Fault(link.target, f"there is another link, {by}. Remove this one from the plan."))


def journal_line(around: Around, item: Item, new: Content, entry: ObjectInfo, how: str, verified: str) -> JournalEntry:
    """Return the journal's line for a file in the tree."""
    return JournalEntry(
        target=item.target,
        origin=around.origin(item),
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


def _in_the_way(item: Item, entry: ObjectInfo, what: str) -> Fault:
    return Fault(
        item.target,
        f"other bytes lie there already ({entry.size:,} B; {what}), and no receipt names them. Remove them, or choose "
        "another place.",
    )


def _listed(objects: ObjectStore, targets: Iterable[str]) -> Iterator[ObjectInfo]:
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
