"""Unpacking of a ``.tar.gz`` of unknown origin: plain files below one folder, of bounded size and number.

Devices and servers get this file unchanged; it needs only the standard library.
"""

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

MAX_FILES = 1000
MAX_JSON = 16_000_000
"""Largest size of a JSON file in bytes; a JSON file is read as a whole."""
MAX_AT_ONCE = 4_000_000
"""Largest single read by tarfile in bytes: a header that claims more is not one that pokeflow writes."""
MAX_NAME = 255
"""Longest name in bytes, a length that every file system accepts."""
UNSOUND = (EOFError, ValueError, TypeError, KeyError, RecursionError, tarfile.TarError, zlib.error)
"""Exceptions of ``extract``, and of reading the JSON files that it unpacked, for an invalid archive."""


def is_safe(name: str) -> bool:
    """Return whether a name is a relative path of plain parts, which stays below the folder it is unpacked in."""
    parts = name.split("/")
    plain = name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts)
    # A path with a drive letter is absolute on systems that have drives.
    absolute = ":" in parts[0] or PurePosixPath(name).is_absolute()
    return plain and not absolute and len(name.encode()) <= MAX_NAME


def extract(file: Path, folder: Path, max_bytes: int, *, executable: bool = False) -> set[str]:
    """Write an archive's files below a folder, and return their names.

    Links and devices are refused. Owners are ignored, and so are modes, except for the executable bit with
    ``executable``.

    Args:
        file: The archive.
        folder: Existing folder that receives the files.
        max_bytes: Largest size of the unpacked archive in bytes.
        executable: Whether a file keeps its executable bit.

    Raises:
        OSError: It is not gzip (``gzip.BadGzipFile``), or the disk fails.
        ValueError: The archive is invalid; the other exceptions of ``UNSOUND`` mean the same.

    """
    names: set[str] = set()
    with (
        file.open("rb") as compressed,
        gzip.GzipFile(fileobj=compressed) as plain,
        tarfile.open(fileobj=_Bounded(plain, max_bytes), mode="r:") as tar,  # type: ignore[call-overload]  # it is only read
    ):
        for member in tar:
            _require_acceptable(member, names)
            _write(tar, member, folder / member.name, executable=executable)
            names.add(member.name)
    return names


def require_kinds(label: str, *kinds: tuple[type, Any]) -> None:
    """Raise a ValueError for a JSON file with values of other types than expected, and name these values.

    Args:
        label: Description of the values in the message.
        kinds: Pairs of an expected type and a value.

    """
    if wrong_values := [repr(value)[:40] for kind, value in kinds if not isinstance(value, kind)]:
        raise ValueError(f"{label} has values of a wrong type: {', '.join(wrong_values)}")


def _require_acceptable(member: tarfile.TarInfo, names: set[str]) -> None:
    if not member.isreg() or member.issparse():
        raise ValueError(f"{member.name!r} is not a regular file")
    if member.name in names or len(names) >= MAX_FILES:
        raise ValueError(f"{member.name!r} occurs twice, or the archive has more than {MAX_FILES:,} files")
    if member.name.endswith(".json") and member.size > MAX_JSON:
        raise ValueError(f"{member.name!r} has {member.size:,} bytes, the limit is {MAX_JSON:,}")
    if not is_safe(member.name):
        raise ValueError(f"{member.name!r} is not a safe path below the archive's folder")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, *, executable: bool) -> None:
    """Write one file without tarfile's extraction filters, which Python 3.11.0 lacks."""
    content = tar.extractfile(member)
    assert content is not None  # a plain file has content
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            shutil.copyfileobj(content, out)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{member.name!r} is both a file and a folder") from error
    target.chmod(0o755 if executable and member.mode & 0o100 else 0o644)


class _Bounded:
    """File that raises a ValueError after more than ``most`` bytes in all, or for a single read that is too large."""

    def __init__(self, source: gzip.GzipFile, max_bytes: int) -> None:
        self._source, self._max_bytes = source, max_bytes

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_AT_ONCE:
            raise ValueError("a header is too large")
        data = self._source.read(size)
        self._count()
        return data

    def seek(self, offset: int) -> int:
        position = self._source.seek(offset)
        self._count()
        return position

    def tell(self) -> int:
        return self._source.tell()

    def _count(self) -> None:
        if self.tell() > self._max_bytes:
            raise ValueError(f"it unpacks to more than {self._max_bytes / 1e6:,.0f} MB")
