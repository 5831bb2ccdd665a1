"""Object store in a local folder, with one file per object.

<root>/<key>                 an object
<root>/.pokeflow/drafts/     files that are being written, later renamed to their final path
<root>/.pokeflow/locks/      locks that are held while a file is replaced
"""

import hashlib
import os
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import (
    ABSENT,
    Advance,
    NotFoundError,
    ObjectInfo,
    ObjectStore,
    PreconditionError,
    addressable,
    require_key,
)
from pokeflow.objects._files import atomic_target, copy_and_hash, integrity_error, name_file_in_errors, open_for_upload

OWN = ".pokeflow"
"""Folder below the root that holds drafts and locks, and no objects."""
ABANDONED = 3600.0
"""Seconds without a write after which a draft counts as left by a killed writer."""
_SWEEP_EVERY = 600.0
_swept: dict[Path, float] = {}


@dataclass(frozen=True, slots=True)
class Folder:
    """An object store in a local folder, which the first write creates. Symbolic links below it are never followed.

    ``inside`` is the path below ``root`` that keys are relative to, ending in a slash, or empty. An ETag consists of
    a file's inode, modification time and size, so it is known without reading the file.
    """

    root: Path
    inside: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(os.path.abspath(self.root)))  # noqa: PTH100 - '..' is resolved too

    @property
    def uri(self) -> str:
        """URI of the folder, ``file:///…``, without a trailing slash."""
        return (self.root / self.inside).as_uri().rstrip("/")

    def connection_options(self) -> Mapping[str, Any]:
        """Return an empty mapping, as a folder needs no connection."""
        return {}

    def copies_on_server(self, source: ObjectStore) -> bool:
        """Return False, as this machine itself copies all files into a folder."""
        return False

    def with_prefix(self, prefix: str) -> "Folder":
        """Return the store of all keys below a prefix; its drafts and locks stay in the same root."""
        return Folder(self.root, f"{self.inside}{self._key(prefix.rstrip('/'))}/") if prefix else self

    def path(self, key: str) -> Path:
        """Return the path for an object, existing or not; raise a PokeflowError if a parent folder is a link."""
        path = self.root / self.inside / self._key(key)
        real = os.path.realpath(self.root)
        parent = os.path.relpath(path.parent, self.root)
        if os.path.realpath(path.parent) != os.path.normpath(os.path.join(real, parent)):  # noqa: PTH118
            raise PokeflowError(f"{path}: a parent folder is a link. Links are not followed: remove it.")
        return path

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose key begins with ``prefix``, sorted by key; symbolic links and devices are skipped."""
        folder, _, name = prefix.rpartition("/")
        start = self.path(f"{folder}/_").parent if folder else self.root / self.inside
        yield from _walk(start, f"{folder}/" if folder else "", name)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the properties of an object, or None if it does not exist."""
        with name_file_in_errors(path := self.path(key)):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _entry(key, status) if stat.S_ISREG(status.st_mode) else None

    def read(self, key: str) -> tuple[bytes, str]:
        """Return the bytes and the ETag of an object; raise NotFoundError if it does not exist."""
        with self._open(key) as file:
            return file.read(), _etag(os.fstat(file.fileno()))

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        """Write bytes under a key, synced to disk, and return the new ETag."""
        path = self.path(key)
        with name_file_in_errors(path), self._draft() as draft:
            with draft.open("wb") as out:
                out.write(data)
            return self._replace(draft, path, match, hashlib.sha256(data).hexdigest())

    def upload(self, source: Path, key: str, *, sha256: str, match: str | None, advance: Advance | None = None) -> None:
        """Copy a file to a key; raise IntegrityError if its checksum is not ``sha256``."""
        path = self.path(key)
        with name_file_in_errors(path), self._draft() as draft:
            with open_for_upload(source) as file, draft.open("wb") as out:
                checksum = copy_and_hash(file, out, advance)
            if checksum != sha256:
                raise integrity_error(str(source), sha256, checksum)
            self._replace(draft, path, match, sha256)

    def download(self, key: str, target: Path, *, sha256: str | None = None, advance: Advance | None = None) -> str:
        """Copy to a file atomically and return its checksum; raise IntegrityError if that is not ``sha256``."""
        with self._open(key) as file, atomic_target(target) as draft:
            with name_file_in_errors(target), draft.open("wb") as out:
                checksum = copy_and_hash(file, out, advance)
            if sha256 not in (None, checksum):
                raise integrity_error(str(self.root / self.inside / key), str(sha256), checksum)
        return checksum

    def copy(
        self, source: ObjectStore, source_key: str, key: str, *, match: str | None, advance: Advance | None = None
    ) -> str:
        """Copy an object from another store and return the checksum of the copy."""
        path = self.path(key)
        with name_file_in_errors(path), self._draft() as draft:
            checksum = source.download(source_key, draft, advance=advance)
            self._replace(draft, path, match, checksum)
        return checksum

    def sha256(self, key: str, *, advance: Advance | None = None) -> str:
        """Compute the checksum of an object by reading every byte; raise NotFoundError if it does not exist."""
        with self._open(key) as file:
            return copy_and_hash(file, None, advance)

    def delete(self, key: str) -> None:
        """Delete an object if it exists; parent folders that become empty are kept."""
        path = self.path(key)
        with name_file_in_errors(path), suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
            with self._lock(path):
                path.unlink()

    def _key(self, key: str) -> str:
        if OWN in require_key(key).casefold().split("/"):
            raise PokeflowError(f"{key!r}: the name {OWN} is reserved for drafts and locks. Choose another.")
        return key

    @contextmanager
    def _open(self, key: str) -> Iterator[BinaryIO]:
        path = self.path(key)
        with name_file_in_errors(path):
            try:
                # Non-blocking, so that a named pipe at this path cannot block the reader.
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError as error:
                # Before the second check, another writer may have created a file at this path.
                if isinstance(error, FileNotFoundError) or self.stat(key) is None:
                    raise NotFoundError(f"{path}: there is no such file.") from None
                raise
            if not stat.S_ISREG(os.fstat(file).st_mode):
                os.close(file)
                raise NotFoundError(f"{path}: there is no such file.")
            with os.fdopen(file, "rb") as stream:
                yield stream

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        folder = self.root / OWN / "drafts"
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        draft = folder / uuid.uuid4().hex
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        from filelock import FileLock, Timeout

        # A fixed number of lock files for all keys: removing lock files safely is hard, and is not needed here.
        shard = hashlib.sha256(str(path.relative_to(self.root)).encode("utf-8", "surrogateescape")).hexdigest()[:2]
        file = self.root / OWN / "locks" / shard
        try:
            lock = FileLock(file, timeout=60, poll_interval=0.01).acquire()
        except Timeout:
            raise PokeflowError(f"{path}: another process has held {file} for a minute. Stop it.") from None
        with lock:
            yield

    def _replace(self, draft: Path, path: Path, match: str | None, sha256: str) -> str:
        """Move a draft to the path of the object, subject to ``match``, and return the ETag."""
        _make_parents(path)
        with draft.open("rb") as file:
            # Set the time in nanoseconds: the file system's own clock is so coarse that two writes may share a time.
            os.utime(draft, ns=(now := time.time_ns(), now))
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
        if match == ABSENT:
            if not self._link(draft, path):
                return self._etag_if_same(path, sha256, "already exists")
            return _etag(status)
        with self._lock(path):
            existing = _lstat(path)
            if existing is not None and not stat.S_ISREG(existing.st_mode):
                raise _not_a_file(path)
            if match is not None and (existing is None or _etag(existing) != match):
                return self._etag_if_same(path, sha256, "has changed" if existing else "does not exist")
            draft.replace(path)
        return _etag(status)

    def _link(self, draft: Path, path: Path) -> bool:
        try:
            # Fails if the name exists, so that exactly one of two writers succeeds.
            os.link(draft, path)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links.
            with self._lock(path):
                if _lstat(path) is not None:
                    return False
                draft.replace(path)
        return True

    def _etag_if_same(self, path: Path, sha256: str, reason: str) -> str:
        """Return the ETag of the existing file if it has the bytes to write; otherwise raise PreconditionError."""
        existing = _lstat(path)
        if existing is not None and not stat.S_ISREG(existing.st_mode):
            raise _not_a_file(path)
        with suppress(FileNotFoundError), path.open("rb") as file:
            if copy_and_hash(file, None, None) == sha256:
                return _etag(os.fstat(file.fileno()))
        raise PreconditionError(f"{path} {reason}.")


def _walk(folder: Path, prefix: str, name: str) -> Iterator[ObjectInfo]:
    try:
        with os.scandir(folder) as entries:
            # Sort a folder by its name with the slash, so that the order equals that of the keys.
            pairs = sorted((f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for part, entry in pairs:
        if not part.startswith(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            if entry.name.casefold() != OWN:
                yield from _walk(folder / entry.name, prefix + part, "")
        elif entry.is_file(follow_symlinks=False) and addressable(prefix + part, str(folder)):
            with suppress(FileNotFoundError):
                yield _entry(prefix + part, entry.stat(follow_symlinks=False))


def _entry(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, _etag(status), status.st_mtime)


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _make_parents(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(p for p in path.parents if p.exists())
        raise PokeflowError(f"{path}: {file} is a file, but must be a folder. Remove it.") from None


def _not_a_file(path: Path) -> PokeflowError:
    return PokeflowError(f"{path}: not a regular file (a folder, a link or a device). Remove it.")


def _sweep(drafts: Path) -> None:
    """Delete the drafts of killed writers, at most once in ``_SWEEP_EVERY`` seconds."""
    now = time.monotonic()
    if now - _swept.get(drafts, -_SWEEP_EVERY) < _SWEEP_EVERY:
        return
    _swept[drafts] = now
    with os.scandir(drafts) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                    Path(entry.path).unlink()
