"""Links: small files of the tree that refer to data that are too large, or too widely shared, to be stored in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from pokeflow.errors import PokeflowError
from pokeflow.objects import IntegrityError, NotFoundError, ObjectStore, open_related, require_key
from pokeflow.project.tree import Tree
from pokeflow.types import RECORD, File, Record, split_task_path

SCHEMES = ("s3", "file")
_record = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Content of a link file: the location of data, and their state when the link was written.

    ``target`` is a path below the store's root if ``relative``, else a URI or a path on the machine that wrote it;
    a folder's ends in ``/``.
    ``fingerprint`` is the ``content`` of the task's record, the checksum of a single file, or an identifier from the
    data's backend. ``size`` is in bytes. ``select`` restricts the link to a part of the target. Every field that is
    None has its reason in ``reasons``.
    """

    target: str
    relative: bool
    fingerprint: str | None = None
    size: int | None = None
    files: int | None = None
    select: Mapping[str, str] | None = None
    task: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """LinkTarget of a link: its files, with paths relative to ``objects``.

    The checksum of a file is empty if unknown. ``record`` is that of the task that produced the files, if any.
    """

    objects: ObjectStore
    files: tuple[File, ...]
    record: Record | None = None

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size for file in self.files)


_link = msgspec.json.Decoder(Link)


def parse(data: bytes, location: str) -> Link:
    """Parse a link; raise IntegrityError if it is invalid or its target is not allowed."""
    try:
        link = _link.decode(data)
        _check(link)
    except (msgspec.MsgspecError, RecursionError, ValueError, PokeflowError) as error:
        raise IntegrityError(f"{location}: not a valid link ({error}). Publish again to replace it.") from error
    return link


def encode(link: Link) -> bytes:
    """Serialize a link as JSON, as it is stored in the tree."""
    return msgspec.json.format(msgspec.json.encode(link), indent=2) + b"\n"


def to_dict(link: Link) -> dict[str, Any]:
    """Convert a link to plain data."""
    data: dict[str, Any] = msgspec.to_builtins(link)
    return data


def read(objects: ObjectStore, key: str) -> Link:
    """Read the link under a key; raise NotFoundError or IntegrityError if it is missing or invalid."""
    return parse(objects.read(key)[0], key)


def _check(link: Link) -> None:
    if link.relative:
        require_key(link.target.removesuffix("/"))
        return
    if link.target.startswith("/"):
        require_key(link.target.strip("/"))
        return
    parts = urlsplit(link.target)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"its target {link.target!r} does not begin with /…, {', '.join(f'{s}://…' for s in SCHEMES)}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"its target {link.target!r} has credentials, a query or a fragment")
    if (parts.scheme == "s3") != bool(parts.netloc):
        raise ValueError(f"its target {link.target!r} names {'a machine' if parts.netloc else 'no bucket'}")
    if inside := unquote(parts.path).strip("/"):
        require_key(inside)
    elif parts.scheme == "file":
        raise ValueError(f"its target {link.target!r} is the whole file system")


def open_target(link: Link, tree: Tree) -> tuple[ObjectStore, str]:
    """Return a link's target as an object store and a prefix in it: ending in ``/`` for a folder, empty for all."""
    if link.relative:
        return tree.store, link.target
    folder, _, name = link.target.rpartition("/")
    if not name or folder in ("", "s3:/", "file://"):
        return open_related(tree.store, folder if not name else link.target), ""
    return open_related(tree.store, folder), unquote(name) if folder.startswith("file:") else name


def follow(link: Link, tree: Tree, location: str) -> LinkTarget:
    """Resolve a link; raise NotFoundError if the target does not exist, IntegrityError if its record is damaged."""
    objects, prefix = open_target(link, tree)
    in_task = split_task_path(prefix) if link.relative else None
    base, inner = (f"{in_task[0]}/", in_task[1].removesuffix("/")) if in_task else (prefix, "")
    # A single file outside of a task's folder has no record that describes it.
    record = _read_record(objects, f"{base}{RECORD}") if not base or base.endswith("/") else None
    if record is None:
        if in_task:
            raise NotFoundError(f"{location}: its target, {link.target}, is not a finished task: it has no {RECORD}.")
        if files := _list_files(objects, prefix):
            return LinkTarget(objects, files)
    else:
        files = tuple(f for f in record.files if not inner or f.path == inner or f.path.startswith(f"{inner}/"))
        if files:
            return LinkTarget(objects.with_prefix(base.removesuffix("/")) if base else objects, files, record)
    raise NotFoundError(f"{location}: its target, {link.target}, does not exist. Publish again.")


def difference(link: Link, target: LinkTarget) -> str | None:
    """Describe how the target differs from the linked content; None if it is the same, or if that is unknown."""
    record = target.record
    if record is None or link.fingerprint is None:
        return None
    checksums = {target.files[0].sha256} if len(target.files) == 1 else set()
    if link.fingerprint in {record.content, record.digest, *checksums}:
        return None
    return f"{link.target} is {record.content} now, but was {link.fingerprint} when it was linked"


def _read_record(objects: ObjectStore, key: str) -> Record | None:
    try:
        data, _ = objects.read(key)
    except NotFoundError:
        return None
    try:
        record = _record.decode(data)
        for file in record.files:
            require_key(file.path)
    except (msgspec.MsgspecError, RecursionError, ValueError, PokeflowError) as error:
        raise IntegrityError(f"{objects.uri}/{key}: not a valid record ({error}).") from error
    return record


def _list_files(objects: ObjectStore, prefix: str) -> tuple[File, ...]:
    if prefix and not prefix.endswith("/"):
        if (entry := objects.stat(prefix)) is not None:
            return (File(prefix, entry.size, entry.sha256 or ""),)
        prefix += "/"
    return tuple(File(entry.key, entry.size, "") for entry in objects.list(prefix))
