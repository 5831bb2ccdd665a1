"""Comparison of the tree with the files to publish, based on listings: unchanged files need no request of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

from pokeflow.objects import ObjectInfo, ObjectStore
from pokeflow.project import documents, receipts
from pokeflow.project._artifacts import Item, Publication
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.types import RECEIPTS

State = Literal["new", "same", "changed", "altered", "newer there"]


@dataclass(frozen=True, slots=True)
class Change:
    """A file to publish, its state in the tree, and the ETag of the object it would replace ("" if there is none).

    ``altered``: the published file was modified, and is restored. ``newer there``: the path holds the file of a
    later version, which is kept.
    """

    item: Item
    state: State
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A publication compared with the tree; ``refused`` holds the reasons why it may not be published."""

    publication: Publication
    changes: tuple[Change, ...]
    complete: bool
    refused: tuple[str, ...] = ()

    @property
    def to_send(self) -> tuple[Change, ...]:
        """Changes whose files must be written."""
        return tuple(change for change in self.changes if change.state not in ("same", "newer there"))


def compare(objects: ObjectStore, publications: Iterable[Publication]) -> list[Comparison]:
    """Compare publications with the tree, using a few listings whatever the number of files."""
    publications = list(publications)
    paths = [item.published.path for publication in publications for item in publication.items]
    listing = {entry.key: entry for prefix in _prefixes(paths) for entry in objects.list(prefix)}
    marks = {entry.key: entry for entry in objects.list(RECEIPTS)}
    return [_compare_one(objects, publication, listing, marks) for publication in publications]


def _compare_one(
    objects: ObjectStore, publication: Publication, listing: Mapping[str, ObjectInfo], marks: Mapping[str, ObjectInfo]
) -> Comparison:
    receipt = publication.receipt
    mark = marks.get(receipts.key(receipt.unit))
    stored = receipts.read(objects, receipt.unit) if mark else None
    old = stored[0] if stored else None
    if old is not None:
        publication = _without_reworded(publication, old)
        receipt = publication.receipt
    if old is not None and (refused := receipts.differences(old, receipt)):
        return Comparison(publication, (), complete=False, refused=tuple(refused))
    changes = [_change(objects, item, listing.get(item.published.path), old, mark) for item in publication.items]
    if any(change.state in ("changed", "altered") and not change.item.published.fixed for change in changes):
        later = _later_paths(objects, receipt, marks)
        changes = [replace(c, state="newer there") if c.item.published.path in later else c for c in changes]
    complete = old is not None and receipts.merge(old, receipt) == old
    return Comparison(publication, tuple(changes), complete)


def _without_reworded(publication: Publication, old: Receipt) -> Publication:
    """Leave out text documents that an earlier release published in other words; the published ones are kept."""
    fixed_files = {file.path: file for file in old.files if file.fixed}

    def is_reworded(published: PublishedFile) -> bool:
        prior, name = fixed_files.get(published.path), published.source.removeprefix("document:")
        is_text = name != published.source and not documents.has_schema(name)
        return is_text and prior is not None and prior.source == published.source and prior.sha256 != published.sha256

    items = tuple(item for item in publication.items if not is_reworded(item.published))
    return Publication(replace(publication.receipt, files=tuple(item.published for item in items)), items)


def _later_paths(objects: ObjectStore, receipt: Receipt, marks: Mapping[str, ObjectInfo]) -> set[str]:
    """Return the paths that belong to later versions of the same model."""
    siblings = receipts.key(receipt.unit).rpartition("/")[0] + "/"
    units = [key.removeprefix(RECEIPTS).removesuffix(".json") for key in marks if key.startswith(siblings)]
    versions = [stored[0] for stored in (receipts.read(objects, unit) for unit in units) if stored]
    later = [version for version in versions if receipts.order(version) > receipts.order(receipt)]
    return {file.path for version in later for file in version.files if not file.fixed}


def _change(
    objects: ObjectStore, item: Item, entry: ObjectInfo | None, old: Receipt | None, mark: ObjectInfo | None
) -> Change:
    published = item.published
    if entry is None:
        return Change(item, "new")
    old_file = next((file for file in old.files if file.path == published.path), None) if old else None
    # A file older than its receipt is as the receipt says; only a file written later is checked itself.
    if old_file and mark and entry.modified <= mark.modified and entry.size == old_file.size:
        same = old_file.sha256 == published.sha256
        return Change(item, "same" if same else "changed", entry.etag)
    if entry.size == published.size and checksum(objects, published.path) == published.sha256:
        return Change(item, "same", entry.etag)
    return Change(item, "altered" if old_file and old_file.sha256 == published.sha256 else "changed", entry.etag)


def checksum(objects: ObjectStore, path: str) -> str | None:
    """Return the checksum of a file in the tree, as recorded by the storage, else by reading it; None if missing."""
    entry = objects.stat(path)
    return (entry.sha256 or objects.sha256(path)) if entry else None


def _prefixes(paths: Iterable[str]) -> list[str]:
    """Return, for each top folder, the deepest folder that contains all of its paths."""
    below: dict[str, list[str]] = {}
    for path in paths:
        below.setdefault(path.partition("/")[0], []).append(path)
    return [_folder(group) for group in below.values()]


def _folder(paths: list[str]) -> str:
    """Return the deepest common folder of paths, ending in ``/``; the path itself if it is in no folder."""
    folders = [path.split("/")[:-1] for path in paths]
    first, last = min(folders), max(folders)
    common = [a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    return "/".join(common) + "/" if common else paths[0]
