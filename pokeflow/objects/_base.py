"""Where bytes lie under keys: a folder or an S3 bucket, behind one set of verbs."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pokeflow.errors import PokeflowError

log = logging.getLogger("pokeflow")

ABSENT = ""
"""As ``match`` of a write: only where nothing lies under the key yet."""
Advance = Callable[[float], None]
"""Told of bytes as they pass."""


class Missing(PokeflowError):  # noqa: N818 - they are answers as much as errors
    """Nothing lies under the key."""


class Conflict(PokeflowError):  # noqa: N818 - they are answers as much as errors
    """Something else lies under the key than the writer expected: another one was first."""


class Damaged(PokeflowError):  # noqa: N818 - they are answers as much as errors
    """What lies there, or what arrived, is not what its checksum says."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies under a key: size in bytes, ``etag`` (another one after every write) and when it was written.

    ``modified`` is seconds since 1970 by the clock of whoever holds it. ``sha256`` is known to ``stat`` alone, and
    only where the holder keeps it; None means that the bytes must be read to know it.
    """

    key: str
    size: int
    etag: str
    modified: float
    sha256: str | None = None


class Objects(Protocol):
    """A folder or a prefix of a bucket. Keys are relative, with ``/`` between parts; none can lead out of it.

    ``match`` of a write: None writes whatever lies there, ``ABSENT`` only where nothing does, an etag only over
    that very object; Conflict otherwise. A write that finds its very bytes there already is a success, whatever it
    expected: its first answer may have been lost. Where another writer has since written over those, it is a Conflict
    all the same: whoever reads again must look whether its own word is in there already. Writes are atomic: a reader
    sees the old bytes or the new, whole. Many threads may call at once.
    """

    @property
    def uri(self) -> str:
        """``file:///…`` or ``s3://bucket/prefix``, without a slash at the end."""
        ...

    def connection_options(self) -> Mapping[str, Any]:
        """What ``open_uri`` takes to reach another place on the same server; nothing for a folder."""
        ...

    def copies_on_server(self, source: "Objects") -> bool:
        """Whether ``copy`` from there moves no byte through this machine."""
        ...

    def at(self, prefix: str) -> "Objects":
        """The same, seen from deeper inside."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Everything whose key begins with ``prefix``, sorted by key; a folder's links and devices are left out."""
        ...

    def stat(self, key: str) -> Entry | None:
        """What lies under a key, or None."""
        ...

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes of a small object, and its etag; Missing."""
        ...

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        """Put bytes under a key; returns the new etag."""
        ...

    def upload(self, source: Path, key: str, *, sha256: str, match: str | None, advance: Advance | None = None) -> None:
        """Put a file of any size under a key, in parts where it is large; Damaged if its bytes are not ``sha256``."""
        ...

    def download(self, key: str, target: Path, *, sha256: str | None = None, advance: Advance | None = None) -> str:
        """Fetch into a file that appears whole or not at all; returns its checksum, Damaged if it is not ``sha256``."""
        ...

    def copy(
        self, source: "Objects", source_key: str, key: str, *, match: str | None, advance: Advance | None = None
    ) -> str:
        """Copy from another place, within the server where both are on one; returns the checksum of what arrived."""
        ...

    def sha256(self, key: str, *, advance: Advance | None = None) -> str:
        """The checksum of what lies under a key, by reading every byte; Missing."""
        ...

    def delete(self, key: str) -> None:
        """Remove what lies under a key, if anything does."""
        ...


_PART = re.compile(r"[^\x00-\x1f\x7f\\/]{1,255}")


def require_key(key: str) -> str:
    """The key itself, if it is one: relative, no empty, ``.`` or ``..`` part, no control characters, ≤ 900 bytes."""
    parts = key.split("/")
    sound = all(_PART.fullmatch(part) and part not in (".", "..") for part in parts)
    if not sound or len(key.encode("utf-8", "surrogatepass")) > 900 or key.isspace():
        raise PokeflowError(f"{key!r} is no path below a project: relative, without '..', '\\' or empty parts.")
    return key


def addressable(key: str, where: str) -> bool:
    """Whether something found by listing has a key; what has none is left out, and that is told."""
    try:
        require_key(key)
    except PokeflowError:
        log.warning("%s: %r is left out, for its name has what no key can have", where, key)
        return False
    return True
