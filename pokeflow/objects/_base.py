"""Common interface of object stores, which hold bytes under keys in a local folder or an S3 bucket."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pokeflow.errors import PokeflowError

log = logging.getLogger("pokeflow")

ABSENT = ""
"""Value for ``match`` of a write that must not replace an existing object."""
Advance = Callable[[float], None]
"""Progress callback, called with the number of bytes transferred since the last call."""


class NotFoundError(PokeflowError):
    """Error for a key without an object."""


class PreconditionError(PokeflowError):
    """Error for a conditional write whose key holds another object than expected: another writer was first."""


class IntegrityError(PokeflowError):
    """Error for stored or transferred bytes that do not match their checksum."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Properties of a stored object: size in bytes, ``etag`` (differs after every write) and time of the last write.

    ``modified`` is in seconds since 1970, by the clock of the storage. ``sha256`` is set by ``stat`` only, and only
    if the storage records it; None means that the bytes must be read to compute it.
    """

    key: str
    size: int
    etag: str
    modified: float
    sha256: str | None = None


class ObjectStore(Protocol):
    """A folder or a prefix of a bucket. Keys are relative, with ``/`` between parts, and cannot point outside of it.

    ``match`` of a write: None always writes, ``ABSENT`` writes only if the key has no object, an ETag only over that
    exact object; otherwise PreconditionError. A write succeeds, whatever its condition, if the key already holds the
    same bytes: the first response may have been lost. If another writer has replaced these bytes since, it raises a
    PreconditionError all the same: the caller must read again and check whether its own change is already included.
    Writes are atomic: a reader sees either all old or all new bytes. All methods are thread-safe.
    """

    @property
    def uri(self) -> str:
        """URI of the store, ``file:///…`` or ``s3://bucket/prefix``, without a trailing slash."""
        ...

    def connection_options(self) -> Mapping[str, Any]:
        """Return the options with which ``open_uri`` opens another URI on the same server; empty for a folder."""
        ...

    def copies_on_server(self, source: "ObjectStore") -> bool:
        """Return whether ``copy`` from that store transfers no bytes through this machine."""
        ...

    def with_prefix(self, prefix: str) -> "ObjectStore":
        """Return the store of all keys below a prefix, with keys relative to it."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose key begins with ``prefix``, sorted by key; symbolic links and devices are skipped."""
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the properties of an object, or None if it does not exist."""
        ...

    def read(self, key: str) -> tuple[bytes, str]:
        """Return the bytes and the ETag of a small object; raise NotFoundError if it does not exist."""
        ...

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        """Write bytes and return the new ETag; raise PreconditionError if ``match`` (see the class) is not met."""
        ...

    def upload(self, source: Path, key: str, *, sha256: str, match: str | None, advance: Advance | None = None) -> None:
        """Upload a file, a large one in parts; raise IntegrityError if its checksum is not ``sha256``."""
        ...

    def download(self, key: str, target: Path, *, sha256: str | None = None, advance: Advance | None = None) -> str:
        """Download to a file atomically and return its checksum; raise IntegrityError if that is not ``sha256``."""
        ...

    def copy(
        self, source: "ObjectStore", source_key: str, key: str, *, match: str | None, advance: Advance | None = None
    ) -> str:
        """Copy an object from another store, on the server if both share one, and return the checksum of the copy."""
        ...

    def sha256(self, key: str, *, advance: Advance | None = None) -> str:
        """Compute the checksum of an object by reading every byte; raise NotFoundError if it does not exist."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        ...


_PART = re.compile(r"[^\x00-\x1f\x7f\\/]{1,255}")


def require_key(key: str) -> str:
    """Return a valid key: relative, no empty, ``.`` or ``..`` part, no backslash or control character, ≤ 900 bytes."""
    parts = key.split("/")
    valid = all(_PART.fullmatch(part) and part not in (".", "..") for part in parts)
    if not valid or len(key.encode("utf-8", "surrogatepass")) > 900 or key.isspace():
        raise PokeflowError(f"{key!r} is not a valid key: use a relative path without '..', '\\' or empty parts.")
    return key


def addressable(key: str, location: str) -> bool:
    """Return whether a listed name is a valid key; log a warning, as the caller skips it, if it is not."""
    try:
        require_key(key)
    except PokeflowError:
        log.warning("%s: %r is skipped, because its name is not a valid key", location, key)
        return False
    return True
