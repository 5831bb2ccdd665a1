"""An archive whose bytes follow from its content alone: no times, no owners, one order."""

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from pokeflow import PokeflowError
from pokeflow_vision.archive import is_safe

LEVEL = 1
"""Weights hardly shrink, whatever the effort: a higher level would take minutes for a hundredth."""
MODE = 0o644

Content = Path | bytes
"""A file, or what is to be one."""


def write(target: Path, content: Mapping[str, Content], advance: Callable[[float], object] = lambda n: None) -> None:
    """Write content by name as ``.tar.gz``; ``advance`` is told of each byte. The same content gives the same bytes.

    A name is relative and stays below the folder that it is unpacked in, a file is a plain one: PokeflowError
    otherwise.
    """
    for name in content:
        require_name(name)
    with (
        target.open("wb") as out,
        # The name in gzip's header would be another one in each store.
        gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(content):
            _add(archive, name, content[name], advance)


def require_name(name: str) -> str:
    """The name itself, if it is a relative path of plain parts."""
    if not is_safe(name):
        raise PokeflowError(f"bundle: {name!r} leads out of the archive. Make the model again.")
    return name


def _add(archive: tarfile.TarFile, name: str, content: Content, advance: Callable[[float], object]) -> None:
    entry = tarfile.TarInfo(name)  # owner, group and time are 0 and empty by default
    entry.mode = MODE
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, _CountingReader(io.BytesIO(content), advance))
        return
    with content.open("rb") as source:
        entry.size = content.stat().st_size
        try:
            archive.addfile(entry, _CountingReader(source, advance))
        except OSError as error:
            raise PokeflowError(f"{content}: could not be packed ({error}). Run it again.") from error


class _CountingReader(io.RawIOBase):
    """A file that tells of each byte that is read from it."""

    def __init__(self, source: BinaryIO, advance: Callable[[float], object]) -> None:
        self._source, self._advance = source, advance

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._advance(len(data))
        return data
