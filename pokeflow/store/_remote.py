"""Shared part of a store: finished tasks in a bucket, uploaded after the local commit, downloaded when needed."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from pokeflow.digest import sha256
from pokeflow.errors import PokeflowError
from pokeflow.objects import Advance, NotFoundError, ObjectStore, PreconditionError, each, require_key
from pokeflow.types import LOG, RECORD, TELEMETRY, File, Record

log = logging.getLogger("pokeflow")
_decoder = msgspec.json.Decoder(Record)


def load(objects: ObjectStore, path: str) -> Record | None:
    """Return the record of a shared task, or None if it does not exist or is damaged; log a warning if damaged."""
    key = f"{path}/{RECORD}"
    try:
        return decode_record(objects.read(key)[0], path)
    except NotFoundError:
        return None
    except ValueError as error:
        log.warning("%s/%s is not a valid record (%s): the task counts as unfinished", objects.uri, key, error)
        return None


def decode_record(data: bytes, path: str) -> Record:
    """Parse a record; raise ValueError if it is invalid, is of another task, or names a file outside its folder."""
    try:
        record = _decoder.decode(data)
        for file in record.files:
            require_key(file.path)
    except (msgspec.MsgspecError, RecursionError, PokeflowError) as error:
        raise ValueError(str(error)) from error
    if record.path != path or record.task != f"{record.stage}:{record.model}":
        raise ValueError(f"it belongs to another task, {record.task!r} {record.digest!r}")
    return record


def upload(objects: ObjectStore, path: str, folder: Path, record: Record) -> None:
    """Upload a finished task: first the files, then the record, so that a visible record implies all of its files.

    The caller must hold the task's lease. If an older result is replaced, its record is deleted first, so that no
    reader mistakes new files for old ones; a shared result that finished at the same time or later is kept.
    """
    if (existing := load(objects, path)) is not None:
        if existing.finished >= record.finished:
            return
        objects.delete(f"{path}/{RECORD}")
    each(
        lambda file, advance: objects.upload(
            folder / file.path, f"{path}/{file.path}", sha256=file.sha256, match=None, advance=advance
        ),
        record.files,
        label=f"sending {record.task}",
        total=sum(file.size for file in record.files),
    )
    if (folder / LOG).is_file():
        objects.write(f"{path}/{LOG}", (folder / LOG).read_bytes(), match=None)
    _send_telemetry(objects, path, folder)
    objects.write(f"{path}/{RECORD}", encode_record(record), match=None)


def _send_telemetry(objects: ObjectStore, path: str, folder: Path) -> None:
    """Upload a task's telemetry and delete that of an earlier run of the same task; symbolic links are skipped."""
    files = [file for file in sorted((folder / TELEMETRY).rglob("*")) if file.is_file() and not file.is_symlink()]
    by_key = {f"{path}/{file.relative_to(folder).as_posix()}": file for file in files}
    for entry in list(objects.list(f"{path}/{TELEMETRY}/")):
        if entry.key not in by_key:
            objects.delete(entry.key)
    for key, file in by_key.items():
        objects.upload(file, key, sha256=sha256(file), match=None)


def amend(objects: ObjectStore, path: str, record: Record) -> None:
    """Replace a record by an updated one of the same run; keep a record that another run has written meanwhile."""
    with suppress(NotFoundError, PreconditionError):
        data, etag = objects.read(f"{path}/{RECORD}")
        current = decode_record(data, path)
        if (current.started, current.content) == (record.started, record.content):
            objects.write(f"{path}/{RECORD}", encode_record(record), match=etag)


def encode_record(record: Record) -> bytes:
    """Serialize a record as JSON, in the form that every store holds."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def download(objects: ObjectStore, path: str, record: Record, draft: Path) -> None:
    """Download a shared task, as described by this record, into a folder; files of an earlier attempt are reused."""

    def download(file: File, advance: Advance) -> None:
        target = draft / file.path
        if target.is_file() and target.stat().st_size == file.size:
            return  # downloads are atomic, and the draft folder belongs to this content alone
        objects.download(f"{path}/{file.path}", target, sha256=file.sha256, advance=advance)

    draft.mkdir(parents=True, exist_ok=True)
    each(download, record.files, label=f"fetching {record.task}", total=sum(file.size for file in record.files))
    with suppress(NotFoundError):
        (draft / LOG).write_bytes(objects.read(f"{path}/{LOG}")[0])
    shutil.rmtree(draft / TELEMETRY, ignore_errors=True)  # the content does not identify the run that wrote it
    for entry in objects.list(f"{path}/{TELEMETRY}/"):
        target = draft / require_key(entry.key).removeprefix(f"{path}/")
        with suppress(NotFoundError):
            objects.download(entry.key, target)
    (draft / RECORD).write_bytes(encode_record(record))
