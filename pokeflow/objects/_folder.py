"""Objects as files below a folder.

<root>/<key>                 an object
<root>/.pokeflow/drafts/     what is being written; a rename puts it in place
<root>/.pokeflow/locks/      held for the moment in which a file is replaced
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
from pokeflow.objects._base import ABSENT, Advance, Conflict, Entry, Missing, Objects, addressable, require_key
from pokeflow.objects._files import beside, damaged, naming, pump, readable

OWN = ".pokeflow"
"""The folder below the root that holds no objects."""
ABANDONED = 3600.0
"""Seconds after which a draft that nobody has written to is taken for that of a killed writer."""
_SWEEP_EVERY = 600.0
_swept: dict[Path, float] = {}


@dataclass(frozen=True, slots=True)
class Folder:
    """A local folder. Links below it are not followed, by reads and writes alike; it is made with the first write.

    ``inside`` is the part below ``root`` that keys are relative to, ending in a slash, or empty. An etag is made of
    a file's inode, time and size, so nothing is read to know it.
    """

    root: Path
    inside: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(os.path.abspath(self.root)))  # noqa: PTH100 - '..' is resolved too

    @property
    def uri(self) -> str:
        """``file:///…`` without a slash at the end."""
        return (self.root / self.inside).as_uri().rstrip("/")

    def connection_options(self) -> Mapping[str, Any]:
        """Nothing: a folder is reached without a connection."""
        return {}

    def copies_on_server(self, source: Objects) -> bool:
        """Never: this machine copies what goes into a folder."""
        return False

    def at(self, prefix: str) -> "Folder":
        """The same, seen from deeper inside; drafts and locks stay in the root."""
        return Folder(self.root, f"{self.inside}{self._key(prefix.rstrip('/'))}/") if prefix else self

    def path(self, key: str) -> Path:
        """Where an object lies, or would; PokeflowError where the way there leads through a link."""
        path = self.root / self.inside / self._key(key)
        real = os.path.realpath(self.root)
        parent = os.path.relpath(path.parent, self.root)
        if os.path.realpath(path.parent) != os.path.normpath(os.path.join(real, parent)):  # noqa: PTH118
            raise PokeflowError(f"{path}: a folder on the way there is a link. Links are not followed: remove it.")
        return path

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Everything whose key begins with ``prefix``, sorted by key; links and devices are left out."""
        folder, _, name = prefix.rpartition("/")
        start = self.path(f"{folder}/_").parent if folder else self.root / self.inside
        yield from _walk(start, f"{folder}/" if folder else "", name)

    def stat(self, key: str) -> Entry | None:
        """What lies under a key, or None."""
        with naming(path := self.path(key)):
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _entry(key, found) if stat.S_ISREG(found.st_mode) else None

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes of an object, and its etag; Missing."""
        with self._opened(key) as file:
            return file.read(), _etag(os.fstat(file.fileno()))

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        """Put bytes under a key, flushed to the disk; returns the new etag."""
        path = self.path(key)
        with naming(path), self._draft() as draft:
            with draft.open("wb") as out:
                out.write(data)
            return self._place(draft, path, match, hashlib.sha256(data).hexdigest())

    def upload(self, source: Path, key: str, *, sha256: str, match: str | None, advance: Advance | None = None) -> None:
        """Copy a file under a key; Damaged if its bytes are not ``sha256``."""
        path = self.path(key)
        with naming(path), self._draft() as draft:
            with readable(source) as file, draft.open("wb") as out:
                arrived = pump(file, out, advance)
            if arrived != sha256:
                raise damaged(str(source), sha256, arrived)
            self._place(draft, path, match, sha256)

    def download(self, key: str, target: Path, *, sha256: str | None = None, advance: Advance | None = None) -> str:
        """Copy into a file that appears whole or not at all; returns its checksum, Damaged if it is not ``sha256``."""
        with self._opened(key) as file, beside(target) as draft:
            with naming(target), draft.open("wb") as out:
                arrived = pump(file, out, advance)
            if sha256 not in (None, arrived):
                raise damaged(self._named(key), str(sha256), arrived)
        return arrived

    def copy(
        self, source: Objects, source_key: str, key: str, *, match: str | None, advance: Advance | None = None
    ) -> str:
        """Copy from another place; returns the checksum of what arrived."""
        path = self.path(key)
        with naming(path), self._draft() as draft:
            arrived = source.download(source_key, draft, advance=advance)
            self._place(draft, path, match, arrived)
        return arrived

    def sha256(self, key: str, *, advance: Advance | None = None) -> str:
        """The checksum of what lies under a key, by reading every byte; Missing."""
        with self._opened(key) as file:
            return pump(file, None, advance)

    def delete(self, key: str) -> None:
        """Remove what lies under a key, if anything does; folders that this leaves empty stay."""
        path = self.path(key)
        with naming(path), suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
            with self._locked(path):
                path.unlink()

    def _key(self, key: str) -> str:
        if OWN in require_key(key).casefold().split("/"):
            raise PokeflowError(f"{key!r}: the name {OWN} is kept for drafts and locks. Choose another.")
        return key

    def _named(self, key: str) -> str:
        return str(self.root / self.inside / key)

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        path = self.path(key)
        with naming(path):
            try:
                # Without blocking: a pipe that lies there must not hold the reader up.
                file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError as error:
                # By the time that one looks again, another writer may have put something there.
                if isinstance(error, FileNotFoundError) or self.stat(key) is None:
                    raise Missing(f"{path}: there is no such file.") from None
                raise
            if not stat.S_ISREG(os.fstat(file).st_mode):
                os.close(file)
                raise Missing(f"{path}: there is no such file.")
            with os.fdopen(file, "rb") as opened:
                yield opened

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
    def _locked(self, path: Path) -> Iterator[None]:
        from filelock import FileLock, Timeout

        # A few files for all keys: none has to be removed, which is what makes locks hard.
        shard = hashlib.sha256(str(path.relative_to(self.root)).encode("utf-8", "surrogateescape")).hexdigest()[:2]
        lock = FileLock(self.root / OWN / "locks" / shard, timeout=60, poll_interval=0.01)
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise PokeflowError(f"{path}: another process has held {lock.lock_file} for a minute. End it.") from None
        try:
            yield
        finally:
            lock.release()

    def _place(self, draft: Path, path: Path, match: str | None, sha256: str) -> str:
        """Make a draft the object; returns its etag."""
        _make_parents(path)
        with draft.open("rb") as file:
            # To the nanosecond, for the system's own time has steps in which two writes may fall.
            os.utime(draft, ns=(now := time.time_ns(), now))
            os.fsync(file.fileno())
            found = os.fstat(file.fileno())
        if match == ABSENT:
            if not self._link(draft, path):
                return self._same(path, sha256, "lies there already")
            return _etag(found)
        with self._locked(path):
            lies = _lstat(path)
            if lies is not None and not stat.S_ISREG(lies.st_mode):
                raise _no_file(path)
            if match is not None and (lies is None or _etag(lies) != match):
                return self._same(path, sha256, "has been written by another" if lies else "is gone")
            draft.replace(path)
        return _etag(found)

    def _link(self, draft: Path, path: Path) -> bool:
        try:
            # Fails where the name exists: of two writers exactly one is first.
            os.link(draft, path)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links.
            with self._locked(path):
                if _lstat(path) is not None:
                    return False
                draft.replace(path)
        return True

    def _same(self, path: Path, sha256: str, fault: str) -> str:
        """The etag of what lies there if it is what was to be written; Conflict."""
        lies = _lstat(path)
        if lies is not None and not stat.S_ISREG(lies.st_mode):
            raise _no_file(path)
        with suppress(FileNotFoundError), path.open("rb") as file:
            if pump(file, None, None) == sha256:
                return _etag(os.fstat(file.fileno()))
        raise Conflict(f"{path}: {fault}.")


def _walk(folder: Path, prefix: str, name: str) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as entries:
            # A folder is sorted as its keys are: with the slash that follows its name.
            found = sorted((f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for own, entry in found:
        if not own.startswith(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            if entry.name.casefold() != OWN:
                yield from _walk(folder / entry.name, prefix + own, "")
        elif entry.is_file(follow_symlinks=False) and addressable(prefix + own, str(folder)):
            with suppress(FileNotFoundError):
                yield _entry(prefix + own, entry.stat(follow_symlinks=False))


def _entry(key: str, found: os.stat_result) -> Entry:
    return Entry(key, found.st_size, _etag(found), found.st_mtime)


def _etag(found: os.stat_result) -> str:
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _make_parents(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(p for p in (path.parent, *path.parents) if p.exists() and not p.is_dir())
        raise PokeflowError(f"{path}: {file} is a file, where a folder should be. Remove one of them.") from None


def _no_file(path: Path) -> PokeflowError:
    return PokeflowError(f"{path}: no file lies there, but a folder, a link or a device. Remove it.")


def _sweep(drafts: Path) -> None:
    """Remove what killed writers have left, now and then."""
    now = time.monotonic()
    if now - _swept.get(drafts, -_SWEEP_EVERY) < _SWEEP_EVERY:
        return
    _swept[drafts] = now
    with os.scandir(drafts) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                    Path(entry.path).unlink()
