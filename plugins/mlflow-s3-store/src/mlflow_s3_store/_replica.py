"""Replicas: a tracking URI in a bucket, and this machine's working copy of it."""

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from mlflow_s3_store._address import address_errors, has_password, without_password
from mlflow_s3_store._settings import CACHE, value, variable
from mlflow_s3_store._working_copy import WorkingCopy
from pokeflow.errors import PokeflowError
from pokeflow.objects import DaemonPool, ObjectStore

log = logging.getLogger(__package__)
FORMER = ("pokeflow", "mlflow")
"""Path, below the cache folder, of the working copies of earlier versions."""
WORKERS = 16
ATTEMPTS = 30
"""Number of attempts to write a unit that others write to at the same time."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Replica:
    """A tracking URI: ``objects`` is the object store below it, ``copy`` this machine's working copy of it."""

    uri: str
    objects: ObjectStore
    copy: WorkingCopy
    pool: DaemonPool = field(default_factory=lambda: DaemonPool(WORKERS, "mlflow-s3"))
    publishing: threading.RLock = field(default_factory=threading.RLock)

    def map(self, call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call a function for every item, several at once; raise the first error after all calls have ended."""
        work = list(items)
        if len(work) < 2:
            return [call(item) for item in work]
        try:
            futures = [self.pool.submit(call, item) for item in work]
        except RuntimeError:  # no thread can be started any more: the interpreter is shutting down
            return [call(item) for item in work]
        errors = [error for future in futures if (error := future.exception())]
        if errors:
            raise errors[0]
        return [future.result() for future in futures]

    @property
    def lock(self) -> FileLock:
        """The lock of the one process of this machine that publishes: two would only conflict with each other."""
        return FileLock(f"{self.copy.file}.lock")


def open_replica(uri: str, folder: Path) -> Replica:
    """Open the replica of a tracking URI, with its working copy below a folder; call this once per process and URI.

    Raises:
        PokeflowError: If the URI is invalid or holds a password, or the working copy cannot be opened.

    """
    from pokeflow_s3 import open_bucket

    for error in address_errors(uri):
        raise PokeflowError(f"{without_password(uri)}: {error}.")
    if has_password(uri):
        raise PokeflowError(f"{without_password(uri)}: contains a password. Set credentials where boto3 reads them.")
    endpoint, encryption, kms_key = _server()
    # Few attempts, because callers wait for responses, and a failed write is retried later anyway.
    objects = open_bucket(uri, endpoint=endpoint, encryption=encryption, kms_key=kms_key, attempts=6, timeout=15)
    server_url = objects.client.meta.endpoint_url  # from whatever configuration it comes
    name = hashlib.sha256(f"{server_url} {uri}".encode()).hexdigest()[:16]
    template = _template(folder)
    for other_file in folder.glob(f"{name}-*.db"):
        if not other_file.stem.endswith(template.stem) and (unpublished := _count_unpublished(other_file)):
            log.warning(
                "%s: holds %d unpublished changes of another MLflow version; open %s with that version to publish them",
                other_file,
                unpublished,
                uri,
            )
    return Replica(uri, objects, _open_copy(folder / f"{name}-{template.stem}.db", template, uri))


def _server() -> tuple[str | None, str | None, str | None]:
    """Return endpoint, encryption and KMS key from MLflow's variables for artifacts; boto3 reads its own variables."""
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None
    try:
        extra: dict[str, Any] = json.loads(os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}")
        return endpoint, extra.get("ServerSideEncryption"), extra.get("SSEKMSKeyId")
    except (ValueError, AttributeError):
        raise PokeflowError("MLFLOW_S3_UPLOAD_EXTRA_ARGS: is not a JSON object. Correct or unset it.") from None


def cache_folder() -> Path:
    """Return the folder of the working copies; create it for this user alone if it does not exist.

    An existing folder from when the stores were part of another package stays in use: it may hold unpublished changes.

    Raises:
        PokeflowError: If the folder cannot be created or written to, or its path contains a ``?``.

    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    former, current = home.joinpath(*FORMER), home / "mlflow-s3-store"
    default = former if former.is_dir() and not current.is_dir() else current
    folder = Path(value(CACHE) or default).expanduser().absolute()
    hint = f"Set {variable(CACHE)} to another folder for working copies."
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise PokeflowError(
            f"{folder}: {error.strerror}. Set {variable(CACHE)} to a folder for working copies."
        ) from error
    if not writable or "?" in str(folder):
        reason = "has a '?' in its path, which SQLite URIs cannot contain" if writable else "is not writable"
        raise PokeflowError(f"{folder}: {reason}. {hint}")
    return folder


def _template(folder: Path) -> Path:
    """Return an empty database of this MLflow; to copy it saves MLflow's migrations, which take seconds."""
    from mlflow.store.db.utils import _get_latest_schema_revision
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = folder / f"{_get_latest_schema_revision()}.empty"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            draft = file.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            logging.getLogger("alembic").setLevel(logging.WARNING)
            store = SqlAlchemyStore(f"sqlite:///{draft}", "s3://")
            store._dispose_engine()
            SqlAlchemyStore._engine_map.pop(f"sqlite:///{draft}", None)
            draft.replace(file)
    return file


def _count_unpublished(file: Path) -> int:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as database:
        return int(database.execute("SELECT COUNT(*) FROM pokeflow_marks").fetchone()[0])
    return 0


def _open_copy(file: Path, template: Path, uri: str) -> WorkingCopy:
    """Open the working copy in a file; if it is damaged, set it aside and begin a new one from the bucket."""
    try:
        return WorkingCopy(file, template, uri)
    except sqlite3.DatabaseError as error:
        _require_damage(file, error)
    with FileLock(f"{file}.lock"):
        try:
            return WorkingCopy(file, template, uri)  # another process may have set it aside in the meantime
        except sqlite3.DatabaseError as error:
            _require_damage(file, error)
            aside = f"{file.stem}.damaged-{time.time_ns()}"
            for ending in ("", "-wal", "-shm"):
                part = file.with_name(file.name + ending)
                if part.exists():
                    part.replace(file.with_name(aside + ending))
            log.warning("%s: is damaged (%s); it is kept as %s and rebuilt from the bucket", file, error, aside)
            return WorkingCopy(file, template, uri)


def _require_damage(file: Path, error: sqlite3.DatabaseError) -> None:
    """Raise a PokeflowError unless the file itself is damaged: a locked or unwritable file is sound."""
    if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise PokeflowError(
            f"{file}: {error}. Nothing in it is lost. Try again, or remove what blocks the file."
        ) from error
