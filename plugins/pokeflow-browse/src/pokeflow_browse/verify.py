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
from pokeflow_browse.configured import NOTHING
from pokeflow_browse.schemas import link_schema, receipt_schema

Fault = Literal["missing", "altered", "unreadable", "invalid", "stale", "dangling", "orphaned"]
KINDS: dict[Fault, str] = {
    "missing": "listed in a receipt, but does not exist",
    "altered": "size or checksum differs from the receipt",
    "unreadable": "exists, but cannot be read",
    "invalid": "not a valid receipt, document or link",
    "stale": "a document that differs from what the receipts say",
    "dangling": "a link whose target no longer exists or has changed",
    "orphaned": "in no receipt: left by an interrupted publication, or added by hand",
}
"""Kinds of problems with their explanations, worst first."""
MAX_PROBLEMS = 100
"""Maximum number of unreadable files before the connection is assumed to be broken."""
_UNREADABLE = object()
_BUILD_ERRORS = (PokeflowError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""Errors that a valid receipt with nonsensical facts can cause in a document builder: facts may be anything."""
_ADVICE = " Run 'pokeflow verify'."
"""Advice in the error messages of builders, which is removed as this command is just running."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with its message; ``expected`` and ``found`` are checksums, sizes or counts, if applicable."""

    kind: Fault
    path: str
    message: str
    expected: str | int | None = None
    found: str | int | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of a verification: problems, worst first, and counts; ``size`` is the total of all receipts in bytes."""

    problems: tuple[Problem, ...]
    files: int
    size: int
    receipts: int
    documents: int
    links: int
    quick: bool


def verify(tree: Tree, *, quick: bool = False) -> VerifyResult:
    """Verify a whole tree, without writing; ``quick`` compares listed sizes instead of reading published files."""
    contents = inventory.scan(tree)
    document_items = [item for item in contents.items if item.kind == "document"]
    link_items = [item for item in contents.items if item.kind == "link"]
    current = inventory.current(contents.receipts)
    to_check = [item for item in document_items if documents.has_schema(_name(item)) and not (quick and item.published)]
    problems = [
        *_empty(contents),
        *(Problem("invalid", key, message.removeprefix(f"{key}: ")) for key, message in contents.damaged.items()),
        *_receipts(contents.receipts),
        *_conflicts(contents.receipts),
        *_files(contents, current, quick=quick),
        *_orphans(contents),
        *(_unknown_document(item) for item in document_items if _name(item) not in _names()),
        *_documents(tree, to_check),
        *_stale(contents),
        *(problem for item in link_items for problem in _link(tree, item)),
    ]
    order = {kind: rank for rank, kind in enumerate(KINDS)}
    problems.sort(key=lambda problem: (order[problem.kind], problem.path))
    size = sum(published.size for _, published in current.values())
    read = sum(1 for item in document_items if not (quick and item.published))
    return VerifyResult(tuple(problems), len(current), size, len(contents.receipts), read, len(link_items), quick)


def _empty(contents: Inventory) -> Iterator[Problem]:
    if not contents.items:
        # Most likely the URI is wrong, and a tree that does not exist must not pass as valid.
        yield Problem("missing", contents.tree.objects.uri, NOTHING)


def _publisher(receipt: Receipt) -> str:
    return f"{receipt.model} {receipt.version}" if receipt.version else receipt.unit


def _receipts(all_receipts: Iterable[Receipt]) -> Iterator[Problem]:
    """Yield values in receipts that violate the schema and that no release can have written, such as invalid times."""
    for receipt in all_receipts:
        # Files are checked one by one elsewhere, and may be very many.
        document = json.loads(msgspec.json.encode(replace(receipt, files=())))
        for fault in schema_faults(document, receipt_schema()):
            yield Problem("invalid", receipts.key(receipt.unit), fault)


def _conflicts(all_receipts: Iterable[Receipt]) -> Iterator[Problem]:
    """Yield fixed files for which two receipts have different checksums."""
    first: dict[str, tuple[Receipt, PublishedFile]] = {}
    for receipt in all_receipts:
        for published in receipt.files:
            if not published.fixed:
                continue
            owner, earlier = first.setdefault(published.path, (receipt, published))
            if earlier.sha256 != published.sha256:
                message = f"{_publisher(owner)} and {_publisher(receipt)} both list this file, with different checksums"
                yield Problem("invalid", published.path, message, earlier.sha256, published.sha256)


def _files(contents: Inventory, current: dict[str, tuple[Receipt, PublishedFile]], *, quick: bool) -> list[Problem]:
    entries = {item.path: item.entry for item in contents.items}
    problems, unreadable, to_read = [], [], []
    for path, (receipt, published) in current.items():
        entry = entries.get(path)
        if entry is None:
            problems.append(Problem("missing", path, f"listed by {_publisher(receipt)}", published.sha256))
        elif entry.size != published.size:
            size = f"{words.format_size(entry.size)} ({entry.size:,} B)"
            message = f"{size}, published with {published.size:,} B by {_publisher(receipt)}"
            problems.append(Problem("altered", path, message, published.size, entry.size))
        else:
            to_read.append((receipt, published))

    def verify_one(item: tuple[Receipt, PublishedFile], advance: Advance) -> None:
        receipt, published = item
        try:
            actual = contents.tree.objects.sha256(published.path, advance=advance)
        except NotFoundError:
            problems.append(
                Problem(
                    "missing",
                    published.path,
                    f"listed by {_publisher(receipt)}; removed during verification",
                )
            )
        except PokeflowError as error:
            unreadable.append(Problem("unreadable", published.path, str(error)))
            if len(unreadable) > MAX_PROBLEMS:
                raise
        else:
            if actual != published.sha256:
                message = f"sha256 {actual}, published with {published.sha256} by {_publisher(receipt)}"
                problems.append(Problem("altered", published.path, message, published.sha256, actual))

    if not quick and to_read:
        each(verify_one, to_read, label="verifying", total=sum(published.size for _, published in to_read))
    return [*problems, *unreadable]


def _orphans(contents: Inventory) -> Iterator[Problem]:
    for item in contents.orphans:
        yield Problem("orphaned", item.path, f"{words.format_size(item.entry.size)}, in no receipt", None, None)


def _name(item: Item) -> str:
    """Return the name of a document as stated by its receipt, which may be wrong, or else by the layout."""
    return item.origin.removeprefix("document:")


def _names() -> set[str]:
    """Return the names of all documents that a tree may contain, whether their kinds are installed or not."""
    return {*document_kinds(), *(name for names in WELL_KNOWN.values() for name in names)}


def _unknown_document(item: Item) -> Problem:
    return Problem(
        "invalid", item.path, f"its receipt names an unknown document {words.strip_control_characters(_name(item))!r}"
    )


def _documents(tree: Tree, items: list[Item]) -> list[Problem]:
    """Validate each document against its schema."""
    problems = []

    def check_one(item: Item, advance: Advance) -> None:
        try:
            faults = check_document(_name(item), tree.objects.read(item.path)[0])
        except NotFoundError:
            return  # removed since it was listed
        except PokeflowError as error:
            problems.append(Problem("unreadable", item.path, str(error)))
            return
        advance(item.entry.size)
        problems.extend(Problem("invalid", item.path, fault) for fault in faults)

    if items:
        each(check_one, items, label="checking documents", total=sum(item.entry.size for item in items))
    return problems


def _stale(contents: Inventory) -> Iterator[Problem]:
    """Compare each document of the project with the one that is built from the current receipts."""
    paths = {leaf.document: leaf.path for leaf in contents.tree.leaves if leaf.document and not leaf.model}
    if not contents.receipts or contents.damaged:
        return  # there are no receipts to compare with, or not all of them can be read
    kinds = {name: kind for name, kind in kinds_of("project").items() if name in paths}
    existing = {name: _load(contents.tree, kind, paths[name]) for name, kind in kinds.items()}
    for name, kind in kinds.items():
        if existing[name] is _UNREADABLE:
            continue
        if existing[name] is None:
            yield Problem(
                "missing",
                paths[name],
                "does not exist yet. Run 'pokeflow publish' to write it.",
            )
            continue
        read = {source: existing[source] for source in kind.reads if existing.get(source) is not None}
        if _UNREADABLE in read.values():
            continue
        project = Project(
            contents.tree.about, contents.receipts, old=None if kind.derived else existing[name], documents=read
        )
        try:
            built = json.loads(encode_document(documents.build(kind, project), paths[name]))
        except _BUILD_ERRORS as error:
            fault = str(error) if isinstance(error, PokeflowError) else f"{type(error).__name__}: {error}"
            message = f"cannot be built from the receipts: {fault.removesuffix(_ADVICE)}"
            yield Problem("invalid", paths[name], message)
            continue
        if difference := _first_difference(existing[name], built):
            message = f"{difference}; 'pokeflow publish' rewrites it from the receipts and this configuration"
            yield Problem("stale", paths[name], message)


def _load(tree: Tree, kind: DocumentKind, path: str) -> Any:
    """Load a document; None if it does not exist, ``_UNREADABLE`` if it is invalid, which is reported elsewhere."""
    try:
        return decode_document(tree.objects.read(path)[0], schema_of(kind), path)
    except NotFoundError:
        return None
    except PokeflowError:
        return _UNREADABLE


def _first_difference(actual: Any, expected: Any, path: str = "$") -> str | None:
    """Describe the first difference between two documents; None if they are equal."""
    if isinstance(actual, dict) and isinstance(expected, dict):
        for key in {**expected, **actual}:
            if key not in actual or key not in expected:
                return f"{path}.{key} is {'missing' if key in expected else 'not expected'}"
            if difference := _first_difference(actual[key], expected[key], f"{path}.{key}"):
                return difference
        return None
    if isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        pairs = enumerate(zip(actual, expected, strict=True))
        return next((f for i, (a, b) in pairs if (f := _first_difference(a, b, f"{path}[{i}]"))), None)
    if actual == expected and type(actual) is type(expected):
        return None
    return f"{path} is {_short(actual)}, should be {_short(expected)}"


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
        yield Problem("dangling", path, f"the files of the record at {link.target} do not match its content hash")
    if difference := links.difference(link, target):
        yield Problem("dangling", path, difference, link.fingerprint, record.content if record else None)
    sizes = {entry.key: entry.size for entry in target.objects.list()} if record else {}
    for file in target.files if record else ():
        if sizes.get(file.path) != file.size:
            state = "is missing" if file.path not in sizes else f"has {sizes[file.path]:,} B, recorded {file.size:,} B"
            yield Problem("dangling", path, f"{link.target}: {words.strip_control_characters(file.path)} {state}")
    if link.select is not None:
        return  # a listing cannot show the size of the selected part of the target
    count = words.format_count(len(target.files), "file")
    for shown, recorded, actual in (
        (f"{target.size:,} B", link.size, target.size),
        (count, link.files, len(target.files)),
    ):
        if recorded is not None and recorded != actual:
            message = f"{link.target} has {shown}, the link says {recorded:,}"
            yield Problem("dangling", path, message, recorded, actual)
