"""The shared half of a store: finished tasks in a bucket, sent once they are kept here, fetched when needed."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from pokeflow.digest import sha256
from pokeflow.errors import PokeflowError
from pokeflow.objects import Advance, Conflict, Missing, Objects, each, require_key
from pokeflow.types import LOG, RECORD, TELEMETRY, File, Record

log = logging.getLogger("pokeflow")
_decoder = msgspec.json.Decoder(Record)


def load(objects: Objects, path: str) -> Record | None:
    """The record of a finished task that was shared, or None; one that is damaged counts as none, and is told."""
    key = f"{path}/{RECORD}"
    try:
        return decoded(objects.read(key)[0], path)
    except Missing:
        return None
    except ValueError as error:
        log.warning("%s/%s is no sound record (%s): the task counts as not done", objects.uri, key, error)
        return None


def decoded(data: bytes, path: str) -> Record:
    """A record from its bytes; ValueError where it is none, belongs elsewhere, or names a file outside its folder."""
    try:
        record = _decoder.decode(data)
        for file in record.files:
            require_key(file.path)
    except (msgspec.MsgspecError, RecursionError, PokeflowError) as error:
        raise ValueError(str(error)) from error
    if record.path != path or record.task != f"{record.stage}:{record.model}":
        raise ValueError(f"it is of another task, {record.task!r} {record.digest!r}")
    return record


def send(objects: Objects, path: str, folder: Path, record: Record) -> None:
    """Share a finished task: the files, then the record; whoever sees the record finds every file.

    To be called by who holds the task's claim. A result that is being replaced loses its record first, so that no
    reader takes new files for the old ones; one that was made later than this stays.
    """
    if (there := load(objects, path)) is not None:
        if there.finished >= record.finished:
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
    objects.write(f"{path}/{RECORD}", encoded(record), match=None)


def _send_telemetry(objects: Objects, path: str, folder: Path) -> None:
    """Put a task's telemetry in the place of what an earlier making of it left there; links are left out."""
    files = [file for file in sorted((folder / TELEMETRY).rglob("*")) if file.is_file() and not file.is_symlink()]
    sent = {f"{path}/{file.relative_to(folder).as_posix()}": file for file in files}
    for entry in list(objects.list(f"{path}/{TELEMETRY}/")):
        if entry.key not in sent:
            objects.delete(entry.key)
    for key, file in sent.items():
        objects.upload(file, key, sha256=sha256(file), match=None)


def amend(objects: Objects, path: str, record: Record) -> None:
    """Replace a record by one of the very same making; another one that lies there meanwhile stays."""
    with suppress(Missing, Conflict):
        data, etag = objects.read(f"{path}/{RECORD}")
        there = decoded(data, path)
        if (there.started, there.content) == (record.started, record.content):
            objects.write(f"{path}/{RECORD}", encoded(record), match=etag)


def encoded(record: Record) -> bytes:
    """A record's bytes, as they lie in every store."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def fetch(objects: Objects, path: str, record: Record, draft: Path) -> None:
    """Bring a shared task, as this very record has it, into a folder; what an earlier attempt brought is kept."""

    def one(file: File, advance: Advance) -> None:
        target = draft / file.path
        if target.is_file() and target.stat().st_size == file.size:
            return  # downloads are whole or not there, and the draft is of this content alone
        target.parent.mkdir(parents=True, exist_ok=True)
        objects.download(f"{path}/{file.path}", target, sha256=file.sha256, advance=advance)

    draft.mkdir(parents=True, exist_ok=True)
    each(one, record.files, label=f"fetching {record.task}", total=sum(file.size for file in record.files))
    with suppress(Missing):
        (draft / LOG).write_bytes(objects.read(f"{path}/{LOG}")[0])
    shutil.rmtree(draft / TELEMETRY, ignore_errors=True)  # the content does not tell whose it was
    for entry in objects.list(f"{path}/{TELEMETRY}/"):
        target = draft / require_key(entry.key).removeprefix(f"{path}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Missing):
            objects.download(entry.key, target)
    (draft / RECORD).write_bytes(encoded(record))
