"""Unpacking an archive as if nobody had signed it: plain files below one folder, of bounded size, each as it says."""

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pokeflow_edge.runtime import bundle
from pokeflow_edge.runtime.bundle import ABOUT, MOST_JSON
from pokeflow_edge.runtime.update.names import sound
from pokeflow_edge.runtime.update.releases import NotTaken

MOST_FILES, MOST_BYTES = 1000, 8_000_000_000
MOST_AT_ONCE = 4_000_000
"""Bytes that tarfile may ask for in one read: a header that says it is longer is no header of ours."""


def unpack(file: Path, folder: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Unpack an archive into a new folder and return its ``bundle.json``; NotTaken where it is not sound.

    OSError where the disk gives up.
    """
    folder.mkdir(parents=True)
    try:
        with file.open("rb") as packed, gzip.GzipFile(fileobj=packed) as plain:
            found = _members(_Bounded(plain, most), folder)
        return about(folder, found - {ABOUT})
    except gzip.BadGzipFile as error:
        raise NotTaken(f"{file.name}: not a readable bundle ({error}).") from error
    except (EOFError, ValueError, TypeError, KeyError, RecursionError, tarfile.TarError, zlib.error) as error:
        raise NotTaken(f"{file.name}: not a sound bundle ({error}).") from error


def _members(plain: "_Bounded", folder: Path) -> set[str]:
    found: set[str] = set()
    with tarfile.open(fileobj=plain, mode="r:") as tar:  # type: ignore[call-overload]  # it only has to be read
        for member in tar:
            if not member.isreg() or member.issparse():
                raise ValueError(f"{member.name!r} is no plain file")
            if member.name in found or len(found) >= MOST_FILES:
                raise ValueError(f"{member.name!r} is there twice, or there are more than {MOST_FILES:,} files")
            if member.name.endswith(".json") and member.size > MOST_JSON:
                raise ValueError(f"{member.name!r} has {member.size:,} bytes, the limit is {MOST_JSON:,}")
            if not sound(member.name):
                raise ValueError(f"{member.name!r} leads out of the archive")
            _write(tar, member, folder / member.name)
            found.add(member.name)
    return found


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one file by hand, as Python 3.11.0 has no filters: no owner, and of its mode only whether it can be run."""
    content = tar.extractfile(member)
    assert content is not None  # a plain file has one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            shutil.copyfileobj(content, out)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{member.name!r} is a file and a folder") from error
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def damage(folder: Path) -> str:
    """Why an unpacked bundle is not what it was; empty where it is whole, whatever Python left beside its code."""
    try:
        about(folder, bundle.found(folder))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        return str(error)
    return ""


def about(folder: Path, found: Iterable[str]) -> dict[str, Any]:
    """What the bundle says of itself, once the files found, all but ``bundle.json``, are what it says.

    Of its form only what an update uses is asked for, and not its format: a newer one is judged by the runtime that
    it brings, in its self-test. ``bundle.checked`` is for that runtime alone.
    """
    if not (folder / ABOUT).is_file():
        raise ValueError(f"it holds no {ABOUT}")
    told = bundle.read(folder)
    if not isinstance(told["files"], dict):
        raise TypeError(f"its {ABOUT} names no files")
    if fault := bundle.faulty(folder, told["files"], found):
        raise ValueError(": ".join(fault))
    kinds = (dict, told["model"]), (str, told["model"]["name"]), (str, told["version"]), (str, told["target"])
    if other := [repr(part)[:40] for kind, part in kinds if not isinstance(part, kind)]:
        raise ValueError(f"its {ABOUT} holds what is none of its form: {', '.join(other)}")
    return told


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
