"""Unpacking a ``.tar.gz`` that may come from anywhere: plain files below one folder, of bounded size and number.

Devices and servers get this very file; it needs the standard library alone.
"""

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

MOST_FILES = 1000
MOST_JSON = 16_000_000
"""Bytes of a JSON file, which is read as a whole."""
MOST_AT_ONCE = 4_000_000
"""Bytes that tarfile may ask for in one read: a header that says it is longer is no header of ours."""
MOST_NAME = 255
"""Bytes of a name: as many as every file system takes."""
UNSOUND = (EOFError, ValueError, TypeError, KeyError, RecursionError, tarfile.TarError, zlib.error)
"""What ``extract``, and reading the JSON of what it unpacked, raise for an archive that is not sound."""


def is_safe(name: str) -> bool:
    """Whether a name is a relative path of plain parts: it stays below the folder that it is unpacked in."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts)
    # A drive letter is absolute where there are drives.
    absolute = ":" in parts[0] or PurePosixPath(name).is_absolute()
    return plain and not absolute and len(name.encode()) <= MOST_NAME


def extract(file: Path, folder: Path, most: int, *, executable: bool = False) -> set[str]:
    """Write an archive's files below a folder, and return their names.

    Nothing else of the archive is taken: no link, no device, no owner, and of the mode only, with ``executable``,
    whether a file can be run.

    Args:
        file: The archive.
        folder: Where its files go; it exists.
        most: The bytes that it may unfold to.
        executable: Whether a file that can be run there can be run here.

    Raises:
        OSError: It is no gzip (``gzip.BadGzipFile``), or the disk gives up.
        ValueError: It is not sound; or another of ``UNSOUND``.

    """
    found: set[str] = set()
    with (
        file.open("rb") as packed,
        gzip.GzipFile(fileobj=packed) as plain,
        tarfile.open(fileobj=_Bounded(plain, most), mode="r:") as tar,  # type: ignore[call-overload]  # it is only read
    ):
        for member in tar:
            _require_taken(member, found)
            _write(tar, member, folder / member.name, executable=executable)
            found.add(member.name)
    return found


def require_kinds(about: str, *kinds: tuple[type, Any]) -> None:
    """Refuse a JSON file whose values are not of the kinds that are asked for; ValueError names those that are not."""
    if other := [repr(value)[:40] for kind, value in kinds if not isinstance(value, kind)]:
        raise ValueError(f"its {about} holds what is none of its form: {', '.join(other)}")


def _require_taken(member: tarfile.TarInfo, found: set[str]) -> None:
    if not member.isreg() or member.issparse():
        raise ValueError(f"{member.name!r} is no plain file")
    if member.name in found or len(found) >= MOST_FILES:
        raise ValueError(f"{member.name!r} is there twice, or there are more than {MOST_FILES:,} files")
    if member.name.endswith(".json") and member.size > MOST_JSON:
        raise ValueError(f"{member.name!r} has {member.size:,} bytes, the limit is {MOST_JSON:,}")
    if not is_safe(member.name):
        raise ValueError(f"{member.name!r} leads out of the archive")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, *, executable: bool) -> None:
    """Write one file by hand: Python 3.11.0 has no filters."""
    content = tar.extractfile(member)
    assert content is not None  # a plain file has one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            shutil.copyfileobj(content, out)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{member.name!r} is a file and a folder") from error
    target.chmod(0o755 if executable and member.mode & 0o100 else 0o644)


class _Bounded:
    """A file that gives up where more than so many bytes come out of it, or too many are wanted at once."""

    def __init__(self, source: gzip.GzipFile, most: int) -> None:
        self._source, self._most = source, most

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_AT_ONCE:
            raise ValueError("a header that has no end")
        data = self._source.read(size)
        self._count()
        return data

    def seek(self, place: int) -> int:
        at = self._source.seek(place)
        self._count()
        return at

    def tell(self) -> int:
        return self._source.tell()

    def _count(self) -> None:
        if self.tell() > self._most:
            raise ValueError(f"it unfolds to more than {self._most / 1e6:,.0f} MB")
