"""An archive whose bytes follow from its content alone: no times, no owners, one order."""

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
"""Weights hardly shrink, whatever the effort."""

Content = Path | bytes
"""A file, or what is to be one."""


def write(target: Path, content: Mapping[str, Content], executable: Iterable[str] = ()) -> None:
    """Write content by name as ``.tar.gz``: plain files, those in ``executable`` may be run.

    The same content gives the same bytes. PokeflowError for a name that leads out of the folder it is unpacked in.
    """
    if bad := [name for name in content if not is_safe(name)]:
        raise PokeflowError(f"package: {bad[0]!r} leads out of the archive. Make the model again.")
    run = frozenset(executable)
    with (
        target.open("wb") as out,
        # The name in gzip's header would be another one in each store.
        gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(content):
            _add(archive, name, content[name], 0o755 if name in run else 0o644)


def _add(archive: tarfile.TarFile, name: str, content: Content, mode: int) -> None:
    entry = tarfile.TarInfo(name)  # owner, group and time are 0 and empty by default
    entry.mode = mode
    entry.size = size(content)
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        try:
            archive.addfile(entry, source)
        except OSError as error:
            raise PokeflowError(f"{name}: could not be packed ({error}). Run it again.") from error


def size(content: Content) -> int:
    """Bytes of a content."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def sha256(content: Content) -> str:
    """Checksum of a content."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else digest.sha256(content)
