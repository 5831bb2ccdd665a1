"""Reproducible ``.tar.gz`` archives: no times, no owners, sorted names, so equal content gives equal bytes."""

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from pokeflow import PokeflowError
from pokeflow_vision.archive import is_safe

LEVEL = 1
"""Weights hardly compress: a higher level would take minutes to save about 1 %."""
MODE = 0o644

Content = Path | bytes
"""The path of a file to pack, or the bytes of one."""


def write(target: Path, content: Mapping[str, Content], advance: Callable[[float], object] = lambda n: None) -> None:
    """Write files as a reproducible ``.tar.gz``: the same content gives the same bytes.

    Args:
        target: The archive to write.
        content: The files by their names in the archive.
        advance: Called with the number of bytes after each read, for a progress bar.

    Raises:
        PokeflowError: If a name is not a safe relative path, or a file cannot be read.

    """
    for name in content:
        require_name(name)
    with (
        target.open("wb") as out,
        # gzip's header would otherwise hold the path of the target, which differs from store to store.
        gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=out, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(content):
            _add(archive, name, content[name], advance)


def require_name(name: str) -> str:
    """Return the name if it is a safe relative path; raise a PokeflowError otherwise."""
    if not is_safe(name):
        raise PokeflowError(
            f"bundle: {name!r} is not a safe path within the archive. Export the network with relative file names."
        )
    return name


def _add(archive: tarfile.TarFile, name: str, content: Content, advance: Callable[[float], object]) -> None:
    entry = tarfile.TarInfo(name)  # owner, group and time are 0 or empty by default
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
            raise PokeflowError(f"{content}: cannot be packed ({error}). Run the same command again.") from error


class _CountingReader(io.RawIOBase):
    """A file that reports the number of bytes of each read."""

    def __init__(self, source: BinaryIO, advance: Callable[[float], object]) -> None:
        self._source, self._advance = source, advance

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._advance(len(data))
        return data
