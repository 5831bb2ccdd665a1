"""Verification of the tree against its receipts: reads every byte again and checks every document and link."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from pokeflow import digest
from pokeflow import text as words
from pokeflow.errors import PokeflowError
from pokeflow.objects import Advance, NotFoundError, each
from pokeflow.plugins import WELL_KNOWN, document_kinds
from pokeflow.project import (
    Project,
    PublishedFile,
    Receipt,
    Tree,
    check_bytes,
    check_document,
    decode_document,
    documents,
    encode_document,
    inventory,
    kinds_of,
    links,
    receipts,
    schema_faults,
    schema_of,
)
from pokeflow.project.inventory import Inventory, Item
from pokeflow.project.links import Link
from pokeflow.types import DocumentKind
from pokeflow_browse.schemas import link_schema, receipt_schema

Fault = Literal["missing", "altered", "unreadable", "invalid", "stale", "dangling", "orphaned"]
KINDS: dict[Fault, str] = {
    "missing": "a receipt names it, and it is not there",
    "altered": "other bytes than the receipt's",
    "unreadable": "there, and cannot be read",
    "invalid": "no sound receipt, document or link",
    "stale": "a document that tells less or other than the receipts",
    "dangling": "a link whose target is gone or another",
    "orphaned": "nothing accounts for it: left by a publication that did not finish, or put there by hand",
}
"""Kinds of problems with their explanations, worst first."""
ENOUGH = 100
"""Maximum number of unreadable files before the connection is assumed to be broken."""
_UNREADABLE = object()
_UNMADE = (PokeflowError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""Errors that a valid receipt with nonsensical facts can cause in a document builder: facts may be anything."""
_ASKS = " Run 'pokeflow verify'."
"""Advice in the error messages of builders, which is removed as this command is just running."""
LINK = "link"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with its message; ``expected`` and ``found`` are checksums, sizes or counts, if applicable."""

    kind: Fault
    path: str
    message: str
    expected: str | int | None = None
    found: str | int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a verification: problems, worst first, and counts; ``size`` is the total of all receipts in bytes."""

    problems: tuple[Problem, ...]
    files: int
    size: int
    receipts: int
    documents: int
    links: int
    quick: bool


def verify(tree: Tree, *, quick: bool = False) -> Verdict:
    """Verify a whole tree, without writing; ``quick`` compares listed sizes instead of reading published files."""
    scanned = inventory.scan(tree)
    documents_there = [item for item in scanned.items if item.kind == "document"]
    linked = [item for item in scanned.items if item.kind == "link"]
    counted = inventory.current(scanned.receipts)
    checked = [item for item in documents_there if _is_checked(item) and not (quick and item.placed)]
    problems = [
        *_nothing(scanned),
        *(Problem("invalid", key, message.removeprefix(f"{key}: ")) for key, message in scanned.damaged.items()),
        *_receipts(scanned.receipts),
        *_rivals(scanned.receipts),
        *_files(scanned, counted, quick=quick),
        *_orphans(scanned),
        *(_unheard_of(item) for item in documents_there if _name(item) not in _names()),
        *_documents(tree, checked),
        *_stale(scanned),
        *(problem for item in linked for problem in _link(tree, item)),
    ]
    order = {kind: position for position, kind in enumerate(KINDS)}
    problems.sort(key=lambda problem: (order[problem.kind], problem.path))
    size = sum(placed.size for _, placed in counted.values())
    read = sum(1 for item in documents_there if not (quick and item.placed))
    return Verdict(tuple(problems), len(counted), size, len(scanned.receipts), read, len(linked), quick)


def _nothing(scanned: Inventory) -> Iterator[Problem]:
    if not scanned.items:
        # Most likely the URI is wrong, and a tree that does not exist must not pass as valid.
        yield Problem("missing", scanned.tree.objects.uri, "nothing is published here")


def _by(receipt: Receipt) -> str:
    return f"{receipt.model} {receipt.version}" if receipt.version else receipt.unit


def _receipts(known: Iterable[Receipt]) -> Iterator[Problem]:
    """Yield values in receipts that violate the schema and that no release can have written, such as invalid times."""
    for receipt in known:
        # Files are checked one by one elsewhere, and may be very many.
        said = json.loads(msgspec.json.encode(replace(receipt, files=())))
        for fault in schema_faults(said, receipt_schema()):
            yield Problem("invalid", receipts.key(receipt.unit), fault)


def _rivals(known: Iterable[Receipt]) -> Iterator[Problem]:
    """Yield fixed files for which two receipts have different checksums."""
    first: dict[str, tuple[Receipt, PublishedFile]] = {}
    for receipt in known:
        for placed in receipt.files:
            if not placed.fixed:
                continue
            other, same = first.setdefault(placed.path, (receipt, placed))
            if same.sha256 != placed.sha256:
                message = f"{_by(other)} and {_by(receipt)} both have it, as different files"
                yield Problem("invalid", placed.path, message, same.sha256, placed.sha256)


def _files(scanned: Inventory, counted: dict[str, tuple[Receipt, PublishedFile]], *, quick: bool) -> list[Problem]:
    there = {item.path: item.entry for item in scanned.items}
    problems, unreadable, to_read = [], [], []
    for path, (receipt, placed) in counted.items():
        entry = there.get(path)
        if entry is None:
            problems.append(Problem("missing", path, f"{_by(receipt)} has it", placed.sha256))
        elif entry.size != placed.size:
            size = f"{words.format_size(entry.size)} ({entry.size:,} B)"
            message = f"{size}, published with {placed.size:,} B by {_by(receipt)}"
            problems.append(Problem("altered", path, message, placed.size, entry.size))
        else:
            to_read.append((receipt, placed))

    def one(item: tuple[Receipt, PublishedFile], advance: Advance) -> None:
        receipt, placed = item
        try:
            actual = scanned.tree.objects.sha256(placed.path, advance=advance)
        except NotFoundError:
            problems.append(Problem("missing", placed.path, f"{_by(receipt)} has it; it went while it was looked for"))
        except PokeflowError as error:
            unreadable.append(Problem("unreadable", placed.path, str(error)))
            if len(unreadable) > ENOUGH:
                raise
        else:
            if actual != placed.sha256:
                message = f"sha256 {actual}, published with {placed.sha256} by {_by(receipt)}"
                problems.append(Problem("altered", placed.path, message, placed.sha256, actual))

    if not quick and to_read:
        each(one, to_read, label="verifying", total=sum(placed.size for _, placed in to_read))
    return [*problems, *unreadable]


def _orphans(scanned: Inventory) -> Iterator[Problem]:
    for item in scanned.orphans:
        yield Problem("orphaned", item.path, f"{words.format_size(item.entry.size)}, no receipt names it", None, None)


def _name(item: Item) -> str:
    """Return the name of a document as stated by its receipt, which may be wrong, or else by the layout."""
    return item.origin.removeprefix("document:")


def _names() -> set[str]:
    """Return the names of all documents that a tree may contain, whether their kinds are installed or not."""
    return {*document_kinds(), LINK, *(name for names in WELL_KNOWN.values() for name in names)}


def _unheard_of(item: Item) -> Problem:
    return Problem(
        "invalid", item.path, f"its receipt calls it a document {words.strip_control_characters(_name(item))!r}"
    )


def _is_checked(item: Item) -> bool:
    """Return whether a document has a schema to validate it."""
    return _name(item) == LINK or documents.has_schema(_name(item))


def _documents(tree: Tree, items: list[Item]) -> list[Problem]:
    """Validate each document against its schema."""
    problems = []

    def one(item: Item, advance: Advance) -> None:
        try:
            faults = _faults_of(_name(item), tree.objects.read(item.path)[0])
        except NotFoundError:
            return  # removed since it was listed
        except PokeflowError as error:
            problems.append(Problem("unreadable", item.path, str(error)))
            return
        advance(item.entry.size)
        problems.extend(Problem("invalid", item.path, fault) for fault in faults)

    if items:
        each(one, items, label="checking documents", total=sum(item.entry.size for item in items))
    return problems


def _stale(scanned: Inventory) -> Iterator[Problem]:
    """Compare each document of the project with the one that is built from the current receipts."""
    places = {leaf.document: leaf.path for leaf in scanned.tree.leaves if leaf.document and not leaf.model}
    if not scanned.receipts or scanned.damaged:
        return  # there are no receipts to compare with, or not all of them can be read
    kinds = {name: kind for name, kind in kinds_of("project").items() if name in places}
    there = {name: _loaded(scanned.tree, kind, places[name]) for name, kind in kinds.items()}
    for name, kind in kinds.items():
        if there[name] is _UNREADABLE:
            continue
        if there[name] is None:
            yield Problem(
                "missing", places[name], "there are receipts and it is not there; 'pokeflow publish' writes it"
            )
            continue
        read = {one: there[one] for one in kind.reads if there.get(one) is not None}
        if _UNREADABLE in read.values():
            continue
        project = Project(
            scanned.tree.about, scanned.receipts, old=None if kind.derived else there[name], documents=read
        )
        try:
            rebuilt = json.loads(encode_document(documents.build(kind, project), places[name]))
        except _UNMADE as error:
            fault = str(error) if isinstance(error, PokeflowError) else f"{type(error).__name__}: {error}"
            message = f"cannot be made from the receipts: {fault.removesuffix(_ASKS)}"
            yield Problem("invalid", places[name], message)
            continue
        if differs := _first_difference(there[name], rebuilt):
            message = f"{differs}; 'pokeflow publish' writes it anew from receipts and this configuration"
            yield Problem("stale", places[name], message)


def _loaded(tree: Tree, kind: DocumentKind, path: str) -> Any:
    """Load a document; None if it does not exist, ``_UNREADABLE`` if it is invalid, which is reported elsewhere."""
    try:
        return decode_document(tree.objects.read(path)[0], schema_of(kind), path)
    except NotFoundError:
        return None
    except PokeflowError:
        return _UNREADABLE


def _first_difference(have: Any, want: Any, path: str = "$") -> str | None:
    """Describe the first difference between two documents; None if they are equal."""
    if isinstance(have, dict) and isinstance(want, dict):
        for key in [*want, *(key for key in have if key not in want)]:
            if key not in have or key not in want:
                return f"{path}.{key} is {'missing' if key in want else 'too much'}"
            if difference := _first_difference(have[key], want[key], f"{path}.{key}"):
                return difference
        return None
    if isinstance(have, list) and isinstance(want, list) and len(have) == len(want):
        pairs = enumerate(zip(have, want, strict=True))
        return next((f for i, (a, b) in pairs if (f := _first_difference(a, b, f"{path}[{i}]"))), None)
    if have == want and type(have) is type(want):
        return None
    return f"{path} is {_short(have)}, should be {_short(want)}"


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return words.format_count(len(value), "entry", "entries")
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _link(tree: Tree, item: Item) -> Iterator[Problem]:
    try:
        data, _ = tree.objects.read(item.path)
        link = links.parse(data, item.path)
    except NotFoundError:
        return
    except PokeflowError as error:
        yield Problem("invalid", item.path, str(error).removeprefix(f"{item.path}: "))
        return
    for fault in check_bytes(data, link_schema()):
        yield Problem("invalid", item.path, fault)
    try:
        yield from _target(tree, item.path, link)
    except PokeflowError as error:
        # Any unreachable target makes a link dangling, whatever the reason; the tree itself could be read.
        yield Problem("dangling", item.path, str(error).removeprefix(f"{item.path}: "))


def _target(tree: Tree, path: str, link: Link) -> Iterator[Problem]:
    target = links.follow(link, tree, path)
    record = target.record
    if record is not None and digest.content(record.files) != record.content:
        yield Problem("dangling", path, f"the record at {link.target} does not tell the content it is named by")
    if differs := links.difference(link, target):
        yield Problem("dangling", path, differs, link.fingerprint, record.content if record else None)
    there = {entry.key: entry.size for entry in target.objects.list()} if record else {}
    for file in target.files if record else ():
        if there.get(file.path) != file.size:
            what = "is missing" if file.path not in there else f"has {there[file.path]:,} B, recorded {file.size:,} B"
            yield Problem("dangling", path, f"{link.target}: {words.strip_control_characters(file.path)} {what}")
    if link.select is not None:
        return  # a listing cannot show the size of the selected part of the target
    for what, said, have in (("B", link.size, target.size), ("files", link.files, len(target.files))):
        if said is not None and said != have:
            yield Problem("dangling", path, f"{link.target} holds {have:,} {what}, linked with {said:,}", said, have)


def _faults_of(name: str, data: bytes) -> list[str]:
    """Return the faults of a document, or of a link, of this name."""
    return check_bytes(data, link_schema()) if name == LINK else check_document(name, data)
