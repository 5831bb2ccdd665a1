"""Helpers for file transfers: errors that name the file, hashing while reading, atomic replacement by a rename."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import Advance, IntegrityError

CHUNK = 1 << 20


@contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Convert an OSError into a PokeflowError that names the file."""
    try:
        yield
    except OSError as error:
        raise PokeflowError(f"{path}: {error.strerror or error}.") from error


@contextmanager
def open_for_upload(source: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; raise a PokeflowError if that fails."""
    with name_file_in_errors(source):
        file = source.open("rb")
    with file:
        yield file


@contextmanager
def atomic_target(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``target``; rename it to ``target`` at the end, delete it on failure."""
    if not target.parent.is_dir():
        with name_file_in_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield draft
        with name_file_in_errors(target):
            draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def copy_and_hash(source: BinaryIO, target: BinaryIO | None, advance: Advance | None) -> str:
    """Read a file to the end, write it to ``target`` if set, and return the SHA-256 of the bytes read."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        if advance is not None:
            advance(len(chunk))
    return digest.hexdigest()


def integrity_error(location: str, sha256: str, actual: str) -> IntegrityError:
    """Return the error for a checksum that differs from the expected one."""
    return IntegrityError(f"{location}: the checksum is {actual[:12]}…, not {sha256[:12]}…: the content changed.")
