"""Receipts: what was put into the tree, with checksums and the records that made it. Written when all of it is there.

metadata/receipts/models/<model>/<version>.json   a published version
metadata/receipts/<unit>.json                     anything else that came together, such as a migration
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Conflict, Damaged, Entry, Missing, Objects, require_key
from pokeflow.types import RECEIPTS, Record

DATA = "data"
"""The unit of the data set's links."""
PROVISION = "provision"
"""The unit of what the cloud keeps of the project: its id there."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One file of the tree: its path below the tree's root, size, checksum, and where it came from.

    ``source`` is ``<task>/<file>`` for a file of a record, ``document:<name>`` for one written from records, or the
    URI that it was migrated from. ``fixed`` files lie under a version and never change.
    """

    path: str
    size: int
    sha256: str
    source: str
    fixed: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """One unit of the tree. All metadata of the project is made from these, and from nothing else.

    ``unit`` is ``models/<model>/<version>`` for a published version. ``parents`` are ``<model>:<version>``, the first
    one the parent in the lineage. ``records`` are those of the version's tasks (making first), without their lists
    of files. ``origin`` is where a migrated unit came from; it has no records, and what is known of it is in
    ``facts``.
    """

    unit: str
    files: tuple[Placed, ...]
    model: str = ""
    version: str = ""
    type: str = ""
    parents: tuple[str, ...] = ()
    digest: str = ""
    content: str = ""
    records: tuple[Record, ...] = ()
    origin: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> str:
        """When what it tells of was made; empty for what was migrated."""
        return self.records[0].finished if self.records else ""


_decoder = msgspec.json.Decoder(Receipt)


def natural(version: str) -> list[tuple[int, int, str]]:
    """A key that sorts versions as people count: v2.0 before v10.0."""
    parts = re.split(r"(\d+)", version)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def order(receipt: Receipt) -> tuple[str, list[tuple[int, int, str]], str]:
    """A key that sorts a model's versions: the one made last comes last, of the same result the higher version."""
    return receipt.finished, natural(receipt.version), receipt.unit


def unit(model: str, version: str) -> str:
    """The unit of a published version."""
    return f"models/{model}/{version}"


def key(unit: str) -> str:
    """Where a unit's receipt lies in the tree."""
    return require_key(f"{RECEIPTS}{unit}.json")


def read(objects: Objects, unit: str) -> tuple[Receipt, str] | None:
    """A unit's receipt and its etag, or None; Damaged where it cannot be one."""
    try:
        data, etag = objects.read(key(unit))
    except Missing:
        return None
    return decoded(data, key(unit)), etag


def decoded(data: bytes, where: str) -> Receipt:
    """A receipt from its bytes; Damaged where it is none, or names a path that leads out of the tree."""
    try:
        receipt = _decoder.decode(data)
        if key(receipt.unit) != where:
            raise ValueError(f"it is of another unit, {receipt.unit!r}")
        if receipt.version and receipt.unit != unit(receipt.model, receipt.version):
            raise ValueError(f"it speaks of {receipt.model} {receipt.version}")
        for file in receipt.files:
            require_key(file.path)
            if file.size < 0:
                raise ValueError(f"{file.path} has less than no bytes")
    except (msgspec.MsgspecError, RecursionError, ValueError, PokeflowError) as error:
        raise Damaged(f"{where}: no sound receipt ({error}). Restore it: it says what is published.") from error
    return receipt


def read_all(objects: Objects, known: dict[str, Receipt] | None = None) -> tuple[Receipt, ...]:
    """Every receipt of the tree, sorted by unit; Damaged where one cannot be read.

    ``known`` keeps, by etag, what was read before, for whoever asks again and again.
    """
    found = dict(read_each(objects, known))
    for answer in found.values():
        if isinstance(answer, Damaged):
            raise answer
    return tuple(answer for _, answer in sorted(found.items()) if isinstance(answer, Receipt))


def read_each(objects: Objects, known: dict[str, Receipt] | None = None) -> Iterator[tuple[str, Receipt | Damaged]]:
    """The key of every receipt with the receipt, or with what is wrong with it."""
    entries = [entry for entry in objects.list(RECEIPTS) if entry.key.endswith(".json")]
    known = {} if known is None else known

    def one(entry: Entry) -> Receipt | Damaged | None:
        if entry.etag in known and key(known[entry.etag].unit) == entry.key:
            return known[entry.etag]
        try:
            data, etag = objects.read(entry.key)
            known[etag] = decoded(data, entry.key)
            return known[etag]
        except Missing:
            return None
        except Damaged as error:
            return error

    with ThreadPoolExecutor(min(16, max(1, len(entries)))) as pool:
        for entry, answer in zip(entries, pool.map(one, entries), strict=True):
            if answer is not None:
                yield entry.key, answer


def put(objects: Objects, receipt: Receipt) -> Receipt:
    """Add what a unit has gained; PokeflowError where the version is published as something else.

    Of two writers, both are heard: who comes second reads what the first has written and adds to it.
    """
    while True:
        found = read(objects, receipt.unit)
        merged = receipt if found is None else joined(found[0], receipt)
        if found is not None and merged == found[0]:
            return merged
        data = msgspec.json.format(msgspec.json.encode(merged), indent=1) + b"\n"
        try:
            objects.write(key(receipt.unit), data, match=ABSENT if found is None else found[1])
        except Conflict:
            continue
        return merged


def joined(old: Receipt, new: Receipt) -> Receipt:
    """What both tell of one unit; PokeflowError where they speak of different things under one version."""
    if faults := differences(old, new):
        raise PokeflowError("\n".join(faults))
    files = {file.path: file for file in old.files}
    keep_old = bool(new.finished) and old.finished > new.finished
    for file in new.files:
        if not (keep_old and file.path in files):
            files[file.path] = file
    records = {record.task: record for record in old.records}
    for record in new.records:
        if record.task not in records or records[record.task].finished <= record.finished:
            records[record.task] = record
    newest = old if keep_old else new
    making = newest.records[0].task if newest.records else ""
    return replace(
        newest,
        # Who its parents are is published with a version, and stays.
        type=old.type or new.type,
        parents=old.parents or new.parents,
        files=tuple(file for _, file in sorted(files.items())),
        records=tuple(sorted(records.values(), key=lambda record: (record.task != making, record.started))),
    )


def differences(old: Receipt, new: Receipt) -> list[str]:
    """Why ``new`` may not be published beside ``old``: a sentence for each thing of a version that would change."""
    if not old.version:
        return []
    named = f"{old.model} {old.version}"
    if (old.digest, old.content) != (new.digest, new.content):
        return [
            f"{named} is published with digest {old.digest or 'unknown'} (content {old.content or 'unknown'}), "
            f"not {new.digest} ({new.content}). Raise its version."
        ]
    fixed = {file.path: file.sha256 for file in old.files if file.fixed}
    return [
        f"{file.path}: {named} is published with another content ({fixed[file.path][:12]}…, now {file.sha256[:12]}…). "
        "What is published stays: raise the version."
        for file in new.files
        if file.fixed and fixed.get(file.path, file.sha256) != file.sha256
    ]
