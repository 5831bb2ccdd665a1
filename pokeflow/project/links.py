"""Links: small files of the tree that say where data lie which are too large, or too shared, to lie in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from pokeflow.errors import PokeflowError
from pokeflow.objects import Damaged, Missing, Objects, open_related, require_key
from pokeflow.project.tree import Tree
from pokeflow.types import RECORD, File, Record, split_task_path

SCHEMES = ("s3", "file")
_record = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a link file says: where data lie, and what they were when it was written.

    ``target`` is a path below the store's root where ``relative``, else a URI or a path of the machine that wrote it;
    one that ends in ``/`` is a folder's.
    ``fingerprint`` is the content of the task's record, the checksum of a single file, or what the data's backend
    calls them by. ``size`` is in bytes. ``select`` says which part of the target is meant. What is None has its
    reason in ``reasons``.
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
class Target:
    """Where a link leads: the files that lie there, by path from ``objects``.

    The checksum of a file is empty where no record tells it. ``record`` is the task's that made them, if one did.
    """

    objects: Objects
    files: tuple[File, ...]
    record: Record | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


_link = msgspec.json.Decoder(Link)


def parse(data: bytes, where: str) -> Link:
    """A link from its bytes; Damaged where it is none, or leads where no link may."""
    try:
        link = _link.decode(data)
        _check(link)
    except (msgspec.MsgspecError, RecursionError, ValueError, PokeflowError) as error:
        raise Damaged(f"{where}: no sound link ({error}). Publish again to write it anew.") from error
    return link


def encode(link: Link) -> bytes:
    """A link as it lies in the tree."""
    return msgspec.json.format(msgspec.json.encode(link), indent=2) + b"\n"


def plain(link: Link) -> dict[str, Any]:
    """A link as plain data."""
    data: dict[str, Any] = msgspec.to_builtins(link)
    return data


def read(objects: Objects, key: str) -> Link:
    """The link under a key; Missing, Damaged."""
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
        raise ValueError(f"its target {link.target!r} is none of /…, {', '.join(f'{s}://…' for s in SCHEMES)}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"its target {link.target!r} is more than a place")
    if (parts.scheme == "s3") != bool(parts.netloc):
        raise ValueError(f"its target {link.target!r} names {'a machine' if parts.netloc else 'no bucket'}")
    if inside := unquote(parts.path).strip("/"):
        require_key(inside)
    elif parts.scheme == "file":
        raise ValueError(f"its target {link.target!r} is everything")


def opened(link: Link, tree: Tree) -> tuple[Objects, str]:
    """Where a link leads, as objects and a prefix in them: a folder's ends in ``/``, empty is all of them."""
    if link.relative:
        return tree.store, link.target
    folder, _, name = link.target.rpartition("/")
    if not name or folder in ("", "s3:/", "file://"):
        return open_related(tree.store, folder if not name else link.target), ""
    return open_related(tree.store, folder), unquote(name) if folder.startswith("file:") else name


def follow(link: Link, tree: Tree, where: str) -> Target:
    """What a link leads to; Missing where nothing lies there, Damaged where a record there is none."""
    objects, prefix = opened(link, tree)
    in_task = split_task_path(prefix) if link.relative else None
    base, rest = (f"{in_task[0]}/", in_task[1].removesuffix("/")) if in_task else (prefix, "")
    # A single file that no task made has no record beside it that would tell of it.
    record = _read_record(objects, f"{base}{RECORD}") if not base or base.endswith("/") else None
    if record is None:
        if in_task:
            raise Missing(f"{where}: there is no task at its target, {link.target}: no {RECORD} lies there.")
        if files := _listed(objects, prefix):
            return Target(objects, files)
    else:
        files = tuple(f for f in record.files if not rest or f.path == rest or f.path.startswith(f"{rest}/"))
        if files:
            return Target(objects.at(base.removesuffix("/")) if base else objects, files, record)
    raise Missing(f"{where}: nothing lies at its target, {link.target}.")


def difference(link: Link, target: Target) -> str | None:
    """How what lies at a target differs from what was linked, in words; None where it does not, as far as is told."""
    record = target.record
    if record is None or link.fingerprint is None:
        return None
    alone = {target.files[0].sha256} if len(target.files) == 1 else set()
    if link.fingerprint in {record.content, record.digest, *alone}:
        return None
    return f"{link.target} is {record.content} now, and was {link.fingerprint} when it was linked"


def _read_record(objects: Objects, key: str) -> Record | None:
    try:
        data, _ = objects.read(key)
    except Missing:
        return None
    try:
        record = _record.decode(data)
        for file in record.files:
            require_key(file.path)
    except (msgspec.MsgspecError, RecursionError, ValueError, PokeflowError) as error:
        raise Damaged(f"{objects.uri}/{key}: no sound record ({error}).") from error
    return record


def _listed(objects: Objects, prefix: str) -> tuple[File, ...]:
    if prefix and not prefix.endswith("/"):
        if (entry := objects.stat(prefix)) is not None:
            return (File(prefix, entry.size, entry.sha256 or ""),)
        prefix += "/"
    return tuple(File(entry.key, entry.size, "") for entry in objects.list(prefix))
