"""Files on their way: named in errors, hashed while they are read, put in place by a rename."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import Advance, Damaged

CHUNK = 1 << 20


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's errors name the file that they are about."""
    try:
        yield
    except OSError as error:
        raise PokeflowError(f"{path}: {error.strerror or error}.") from error


@contextmanager
def readable(source: Path) -> Iterator[BinaryIO]:
    """A file that is to be sent, opened; PokeflowError where that fails."""
    with naming(source):
        file = source.open("rb")
    with file:
        yield file


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A name next to a file that is being made; at the end, unless something fails, it is renamed into place."""
    if not target.parent.is_dir():
        with naming(target):
            target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield draft
        with naming(target):
            draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def pump(source: BinaryIO, target: BinaryIO | None, advance: Advance | None) -> str:
    """Read to the end, write it elsewhere if wanted; returns the checksum of what went through."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
        if advance is not None:
            advance(len(chunk))
    return digest.hexdigest()


def damaged(where: str, sha256: str, arrived: str) -> Damaged:
    """The error that a checksum is another one than expected."""
    return Damaged(f"{where}: its checksum is {arrived[:12]}…, not {sha256[:12]}…, so something has changed it.")
