"""Reproducible archives, whose bytes depend only on their content: no times, no owners, sorted names."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from pokeflow import PokeflowError, digest
from pokeflow_vision.archive import is_safe

FILE = "edge-bundle.tar.gz"
LEVEL = 1
"""Compression level of gzip: weights hardly shrink at any level."""

Content = Path | bytes
"""A file, or the bytes to write as one."""


def write(target: Path, content: Mapping[str, Content], executable: Iterable[str] = ()) -> None:
    """Write plain files by name as a ``.tar.gz``; the same content results in the same bytes.

    Args:
        target: The archive.
        content: Files by their names in the archive.
        executable: Names of the files to mark as executable.

    Raises:
        PokeflowError: If a name leads out of the folder that the archive is unpacked in.

    """
    if unsafe := [name for name in content if not is_safe(name)]:
        raise PokeflowError(f"package: {unsafe[0]!r} is a path outside of the archive. Run the model's task again.")
    executables = frozenset(executable)
    with (
        target.open("wb") as out,
        # No name in gzip's header, since it would differ between stores.
        gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=out, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(content):
            _add(archive, name, content[name], 0o755 if name in executables else 0o644)


def _add(archive: tarfile.TarFile, name: str, content: Content, mode: int) -> None:
    entry = tarfile.TarInfo(name)  # owner, group and time are 0 and empty by default
    entry.mode = mode
    entry.size = size(content)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        try:
            archive.addfile(entry, source)
        except OSError as error:
            raise PokeflowError(f"{name}: could not be packed ({error}). Run the same command again.") from error


def size(content: Content) -> int:
    """Return the size of a content in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def sha256(content: Content) -> str:
    """Return the SHA-256 checksum of a content in hexadecimal."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else digest.sha256(content)
