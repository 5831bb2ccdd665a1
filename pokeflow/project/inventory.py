"""Inventory of the tree: one listing of all files, joined with the receipts and the layout."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pokeflow.objects import IntegrityError, ObjectInfo
from pokeflow.project import receipts
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.project.tree import Tree
from pokeflow.types import RECEIPTS, LayoutEntry

Kind = Literal["file", "document", "link", "written", "receipt", "orphan"]
"""Origin of a file in the tree; ``written``: by a stage itself, ``orphan``: no receipt or leaf accounts for it."""

LINK = "document:link"
"""``source`` of a link file in a receipt."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the tree, with its leaf and its current receipt, if any."""

    entry: ObjectInfo
    kind: Kind
    leaf: LayoutEntry | None = None
    published: PublishedFile | None = None
    receipt: Receipt | None = None

    @property
    def path(self) -> str:
        """Path of the file, relative to the tree's root."""
        return self.entry.key

    @property
    def origin(self) -> str:
        """Description of the file's source."""
        if self.published is not None:
            return self.published.source
        if self.kind == "document" and self.leaf is not None:
            return f"document:{self.leaf.document}"
        return {
            "receipt": "receipt",
            "link": "link",
            "written": f"written by {self.leaf.maker if self.leaf else 'a stage'}",
            "orphan": "no receipt names it",
        }.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class State:
    """Content of a leaf: number of files, total bytes, versions, and time of the last write (seconds since 1970)."""

    leaf: LayoutEntry
    files: int = 0
    size: int = 0
    versions: tuple[str, ...] = ()
    newest: float | None = None

    @property
    def present(self) -> bool:
        """True if the leaf has any file; otherwise it is a gap, which ``leaf.maker`` would fill."""
        return self.files > 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """Current state of the tree: files sorted by path, leaves in the layout's order, valid and damaged receipts.

    ``damaged`` maps the key of each receipt that cannot be read to what is wrong with it.
    """

    tree: Tree
    items: tuple[Item, ...]
    states: tuple[State, ...]
    receipts: tuple[Receipt, ...]
    damaged: Mapping[str, str]

    @property
    def gaps(self) -> tuple[State, ...]:
        """Leaves without any file so far."""
        return tuple(state for state in self.states if not state.present)

    @property
    def orphans(self) -> tuple[Item, ...]:
        """Files that no receipt, leaf or document accounts for."""
        return tuple(item for item in self.items if item.kind == "orphan")


def scan(tree: Tree) -> Inventory:
    """Build the inventory of a tree from one listing and its receipts, without reading any other file."""
    valid, damaged = read(tree)
    leaves = Leaves(tree.leaves)
    current_receipts = current(valid)
    intact = {receipts.key(receipt.unit) for receipt in valid}
    items = []
    for entry in tree.objects.list():
        leaf = leaves.find(entry.key)
        receipt, published = current_receipts.get(entry.key, (None, None))
        items.append(Item(entry, _kind(entry.key, leaf, published, intact), leaf, published, receipt))
    return Inventory(tree, tuple(items), tuple(_states(tree.leaves, items)), valid, damaged)


def read(tree: Tree) -> tuple[tuple[Receipt, ...], dict[str, str]]:
    """Read the receipts of a tree: the valid ones sorted by unit, and the fault of each damaged one by key."""
    valid, damaged = [], {}
    for key, result in receipts.read_each(tree.objects):
        if isinstance(result, IntegrityError):
            damaged[key] = str(result)
        else:
            valid.append(result)
    return tuple(sorted(valid, key=lambda receipt: receipt.unit)), damaged


def current(valid: Iterable[Receipt]) -> dict[str, tuple[Receipt, PublishedFile]]:
    """Return the current receipt for each path: if several contain it, the one whose task finished last."""
    by_path: dict[str, tuple[Receipt, PublishedFile]] = {}
    for receipt in sorted(valid, key=receipts.order):
        for file in receipt.files:
            by_path[file.path] = (receipt, file)
    return by_path


def writes_itself(leaf: LayoutEntry) -> bool:
    """Return whether a leaf's stage writes its files itself, so that no receipt describes them."""
    return leaf.file is None and leaf.document is None and leaf.link is None


class Leaves:
    """Lookup of the leaf of a path: the leaf with exactly that path, or else that of the innermost folder."""

    def __init__(self, leaves: Iterable[LayoutEntry]) -> None:
        self._leaves = {leaf.path: leaf for leaf in leaves}

    def find(self, path: str) -> LayoutEntry | None:
        """Return the leaf of a path, or None if the path belongs to no leaf."""
        if (leaf := self._leaves.get(path)) is not None:
            return leaf
        end = path.rfind("/")
        while end > 0:
            if (leaf := self._leaves.get(path[: end + 1])) is not None:
                return leaf
            end = path.rfind("/", 0, end)
        return None


def _kind(path: str, leaf: LayoutEntry | None, published: PublishedFile | None, intact: set[str]) -> Kind:
    if path.startswith(RECEIPTS):
        # An unreadable receipt is reported as damaged, which is more specific than an orphan.
        return "receipt" if path in intact or path.endswith(".json") else "orphan"
    if published is not None:
        is_document = published.source.startswith("document:")
        return "link" if published.source == LINK else "document" if is_document else "file"
    # A version's file counts only once a receipt, which is written last, names it.
    if leaf is None or leaf.model or leaf.file is not None:
        return "written" if leaf is not None and writes_itself(leaf) else "orphan"
    return "link" if leaf.link is not None else "document" if leaf.document is not None else "written"


def _states(leaves: Iterable[LayoutEntry], items: Iterable[Item]) -> Iterable[State]:
    by_path: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.leaf is not None:
            by_path[item.leaf.path].append(item)
    for leaf in leaves:
        leaf_items = by_path.get(leaf.path)
        if not leaf_items:
            yield State(leaf)
            continue
        versions = sorted({item.receipt.version for item in leaf_items if item.receipt and item.receipt.version})
        newest = max(item.entry.modified for item in leaf_items)
        yield State(leaf, len(leaf_items), sum(item.entry.size for item in leaf_items), tuple(versions), newest)
