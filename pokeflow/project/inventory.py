"""What lies in the tree, in one pass: everything listed once, joined with the receipts and with what belongs there."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pokeflow.objects import Damaged, Entry
from pokeflow.project import receipts
from pokeflow.project.receipts import Placed, Receipt
from pokeflow.project.tree import Tree
from pokeflow.types import RECEIPTS, Leaf

Kind = Literal["file", "document", "link", "written", "receipt", "orphan"]
"""Why a file lies in the tree: ``written`` by a stage itself; ``orphan``: nothing accounts for it."""

LINK = "document:link"
"""The source of a link."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file that lies in the tree, with the leaf it belongs to and the receipt that counts for it, if any."""

    entry: Entry
    kind: Kind
    leaf: Leaf | None = None
    placed: Placed | None = None
    receipt: Receipt | None = None

    @property
    def path(self) -> str:
        """Where it lies, from the tree's root."""
        return self.entry.key

    @property
    def origin(self) -> str:
        """Where it came from, in words."""
        if self.placed is not None:
            return self.placed.source
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
    """A leaf and what lies there: how many files, bytes in all, whose versions, when written last (seconds)."""

    leaf: Leaf
    files: int = 0
    size: int = 0
    versions: tuple[str, ...] = ()
    newest: float | None = None

    @property
    def present(self) -> bool:
        """Whether anything lies there; a gap otherwise, which ``leaf.maker`` would fill."""
        return self.files > 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """The tree as it is: files sorted by path, leaves in the layout's order, receipts, and receipts that are none.

    ``damaged`` maps the key of each receipt that cannot be read to what is wrong with it.
    """

    tree: Tree
    items: tuple[Item, ...]
    states: tuple[State, ...]
    receipts: tuple[Receipt, ...]
    damaged: Mapping[str, str]

    @property
    def gaps(self) -> tuple[State, ...]:
        """The leaves that nothing has produced yet."""
        return tuple(state for state in self.states if not state.present)

    @property
    def orphans(self) -> tuple[Item, ...]:
        """The files that no receipt, leaf or document accounts for."""
        return tuple(item for item in self.items if item.kind == "orphan")


def take(tree: Tree) -> Inventory:
    """Look at a tree: one listing and its receipts are read, nothing else."""
    known, damaged = read(tree)
    places = Leaves(tree.leaves)
    counting = current(known)
    intact = {receipts.key(receipt.unit) for receipt in known}
    items = []
    for entry in tree.objects.list():
        leaf = places.of(entry.key)
        receipt, placed = counting.get(entry.key, (None, None))
        items.append(Item(entry, _kind(entry.key, leaf, placed, intact), leaf, placed, receipt))
    return Inventory(tree, tuple(items), tuple(_states(tree.leaves, items)), known, damaged)


def read(tree: Tree) -> tuple[tuple[Receipt, ...], dict[str, str]]:
    """The receipts of a tree, sorted by unit, and what is wrong with each that is none."""
    sound, damaged = [], {}
    for key, answer in receipts.read_each(tree.objects):
        if isinstance(answer, Damaged):
            damaged[key] = str(answer)
        else:
            sound.append(answer)
    return tuple(sorted(sound, key=lambda receipt: receipt.unit)), damaged


def current(known: Iterable[Receipt]) -> dict[str, tuple[Receipt, Placed]]:
    """For each path the receipt that counts: of several, the one whose making was finished last."""
    found: dict[str, tuple[Receipt, Placed]] = {}
    for receipt in sorted(known, key=receipts.order):
        for placed in receipt.files:
            found[placed.path] = (receipt, placed)
    return found


def writes_itself(leaf: Leaf) -> bool:
    """Whether a leaf's stage writes there as it likes, so that no receipt tells what lies there."""
    return leaf.file is None and leaf.document is None and leaf.link is None


class Leaves:
    """Which leaf a path belongs to: the one of that very path, or else the innermost folder's."""

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        self._leaves = {leaf.path: leaf for leaf in leaves}

    def of(self, path: str) -> Leaf | None:
        """The leaf, or None where nothing belongs."""
        if (leaf := self._leaves.get(path)) is not None:
            return leaf
        end = path.rfind("/")
        while end > 0:
            if (leaf := self._leaves.get(path[: end + 1])) is not None:
                return leaf
            end = path.rfind("/", 0, end)
        return None


def _kind(path: str, leaf: Leaf | None, placed: Placed | None, intact: set[str]) -> Kind:
    if path.startswith(RECEIPTS):
        # One that cannot be read is told as damaged, which says more than that nothing accounts for it.
        return "receipt" if path in intact or path.endswith(".json") else "orphan"
    if placed is not None:
        is_document = placed.source.startswith("document:")
        return "link" if placed.source == LINK else "document" if is_document else "file"
    # What belongs to a version counts when its receipt, written last, names it; not before.
    if leaf is None or leaf.model or leaf.file is not None:
        return "written" if leaf is not None and writes_itself(leaf) else "orphan"
    return "link" if leaf.link is not None else "document" if leaf.document is not None else "written"


def _states(leaves: Iterable[Leaf], items: Iterable[Item]) -> Iterable[State]:
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.leaf is not None:
            found[item.leaf.path].append(item)
    for leaf in leaves:
        there = found.get(leaf.path)
        if not there:
            yield State(leaf)
            continue
        versions = sorted({item.receipt.version for item in there if item.receipt and item.receipt.version})
        newest = max(item.entry.modified for item in there)
        yield State(leaf, len(there), sum(item.entry.size for item in there), tuple(versions), newest)
