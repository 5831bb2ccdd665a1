"""Receipts: lists of published files with checksums and records, each written after all of its files.

metadata/receipts/models/<model>/<version>.json   a published version
metadata/receipts/<unit>.json                     anything else published together, such as a migration
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from pokeflow.errors import PokeflowError
from pokeflow.objects import (
    ABSENT,
    IntegrityError,
    NotFoundError,
    ObjectInfo,
    ObjectStore,
    PreconditionError,
    require_key,
)
from pokeflow.types import RECEIPTS, Record

DATA = "data"
"""Unit of the data set's links."""
PROVISION = "provision"
"""Unit of the project's facts in the cloud, such as its id."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One published file: its path below the tree's root, size, checksum and source.

    ``source`` is ``<task>/<file>`` for a file of a record, ``document:<name>`` for one built from records, or the
    URI that it was migrated from. ``fixed`` files belong to one version and never change.
    """

    path: str
    size: int
    sha256: str
    source: str
    fixed: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """Description of one published unit of the tree. All metadata of the project is built from receipts alone.

    ``unit`` is ``models/<model>/<version>`` for a published version. ``parents`` are ``<model>:<version>``, the
    lineage parent first. ``records`` are those of the version's tasks, without their lists of files; that of the task
    that produced the model comes first. ``origin`` is the source of a migrated unit, which has no records: what is
    known about it is in ``facts``.
    """

    unit: str
    files: tuple[PublishedFile, ...]
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
        """Time at which the producing task finished; empty for a migrated unit."""
        return self.records[0].finished if self.records else ""


_decoder = msgspec.json.Decoder(Receipt)


def version_sort_key(version: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders versions numerically: v2.0 before v10.0."""
    parts = re.split(r"(\d+)", version)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def order(receipt: Receipt) -> tuple[str, list[tuple[int, int, str]], str]:
    """Return a sort key that orders a model's receipts by time of production, for the same result by version."""
    return receipt.finished, version_sort_key(receipt.version), receipt.unit


def unit(model: str, version: str) -> str:
    """Return the unit of a published version."""
    return f"models/{model}/{version}"


def key(unit: str) -> str:
    """Return the path of a unit's receipt in the tree."""
    return require_key(f"{RECEIPTS}{unit}.json")


def read(objects: ObjectStore, unit: str) -> tuple[Receipt, str] | None:
    """Read a unit's receipt and its ETag, or None if it does not exist; raise IntegrityError if it is damaged."""
    try:
        data, etag = objects.read(key(unit))
    except NotFoundError:
        return None
    return decode(data, key(unit)), etag


def decode(data: bytes, location: str) -> Receipt:
    """Parse a receipt; raise IntegrityError if it is invalid or names a path outside of the tree."""
    try:
        receipt = _decoder.decode(data)
        if key(receipt.unit) != location:
            raise ValueError(f"it belongs to another unit, {receipt.unit!r}")
        if receipt.version and receipt.unit != unit(receipt.model, receipt.version):
            raise ValueError(f"it names {receipt.model} {receipt.version}")
        for file in receipt.files:
            require_key(file.path)
            if file.size < 0:
                raise ValueError(f"{file.path} has a negative size")
    except (msgspec.MsgspecError, RecursionError, ValueError, PokeflowError) as error:
        raise IntegrityError(f"{location}: not a valid receipt ({error}). Restore it from a backup.") from error
    return receipt


def read_all(objects: ObjectStore, cache: dict[str, Receipt] | None = None) -> tuple[Receipt, ...]:
    """Return every receipt of the tree, sorted by unit; raise IntegrityError if one is damaged.

    ``cache`` holds receipts by ETag, for repeated calls.
    """
    results = dict(read_each(objects, cache))
    for result in results.values():
        if isinstance(result, IntegrityError):
            raise result
    return tuple(result for _, result in sorted(results.items()) if isinstance(result, Receipt))


def read_each(
    objects: ObjectStore, cache: dict[str, Receipt] | None = None
) -> Iterator[tuple[str, Receipt | IntegrityError]]:
    """Yield the key of every receipt with the receipt, or with the IntegrityError if it is damaged."""
    entries = [entry for entry in objects.list(RECEIPTS) if entry.key.endswith(".json")]
    cache = {} if cache is None else cache

    def read_one(entry: ObjectInfo) -> Receipt | IntegrityError | None:
        if entry.etag in cache and key(cache[entry.etag].unit) == entry.key:
            return cache[entry.etag]
        try:
            data, etag = objects.read(entry.key)
            cache[etag] = decode(data, entry.key)
            return cache[etag]
        except NotFoundError:
            return None
        except IntegrityError as error:
            return error

    with ThreadPoolExecutor(min(16, max(1, len(entries)))) as pool:
        for entry, result in zip(entries, pool.map(read_one, entries), strict=True):
            if result is not None:
                yield entry.key, result


def put(objects: ObjectStore, receipt: Receipt) -> Receipt:
    """Merge a receipt into the stored one; raise a PokeflowError if the version is published with other content.

    Concurrent writers lose nothing: the second one reads the receipt of the first and adds to it.
    """
    while True:
        stored = read(objects, receipt.unit)
        merged = receipt if stored is None else merge(stored[0], receipt)
        if stored is not None and merged == stored[0]:
            return merged
        data = msgspec.json.format(msgspec.json.encode(merged), indent=1) + b"\n"
        try:
            objects.write(key(receipt.unit), data, match=ABSENT if stored is None else stored[1])
        except PreconditionError:
            continue
        return merged


def merge(old: Receipt, new: Receipt) -> Receipt:
    """Combine two receipts of one unit; raise a PokeflowError if they describe different content of one version."""
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
    producer = newest.records[0].task if newest.records else ""
    return replace(
        newest,
        # Type and parents of a published version do not change.
        type=old.type or new.type,
        parents=old.parents or new.parents,
        files=tuple(file for _, file in sorted(files.items())),
        records=tuple(sorted(records.values(), key=lambda record: (record.task != producer, record.started))),
    )


def differences(old: Receipt, new: Receipt) -> list[str]:
    """Return why ``new`` may not be merged into ``old``: one message for each change to a published version."""
    if not old.version:
        return []
    label = f"{old.model} {old.version}"
    if (old.digest, old.content) != (new.digest, new.content):
        return [
            f"{label} is published with digest {old.digest or 'unknown'} (content {old.content or 'unknown'}), "
            f"not {new.digest} ({new.content}). Raise its version."
        ]
    fixed = {file.path: file.sha256 for file in old.files if file.fixed}
    return [
        f"{file.path}: {label} is published with another content ({fixed[file.path][:12]}…, now {file.sha256[:12]}…). "
        "Published files cannot change: raise the version."
        for file in new.files
        if file.fixed and fixed.get(file.path, file.sha256) != file.sha256
    ]
