"""The shared half of a store: finished tasks in a bucket, sent once they are kept here, fetched when needed."""

import logging
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.digest import sha256
from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Advance, Conflict, Missing, Objects, require_key
from pokeflow.objects.parallel import each
from pokeflow.types import File, Record

log = logging.getLogger("pokeflow")
RECORD, LOG, TELEMETRY = "record.json", "log.txt", "telemetry"
"""Names of what lies beside a result's files. Log and telemetry are no part of it: their times must not name it."""
LEASE = 60.0
"""Seconds after which a claim that nobody renews may be taken over: its holder was killed, or lost the network."""
_decoder = msgspec.json.Decoder(Record)


def path_of(stage: str, model: str, digest: str) -> str:
    """Where a finished task lies below every store."""
    return f"tasks/{stage}/{model}/{digest}"


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
    if path_of(record.stage, record.model, record.digest) != path or record.task != f"{record.stage}:{record.model}":
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


@dataclass(slots=True)
class Claim:
    """A claim that is held, ``etag`` being what it was last written as; ``lost`` once another has taken it over."""

    what: str
    by: str
    etag: str = ""
    lost: bool = False

    def require(self) -> None:
        """Nothing, if it is still held; PokeflowError otherwise."""
        if self.lost:
            raise PokeflowError(
                f"{self.what}: this machine was away for longer than {LEASE:.0f} s, and another one has taken it over. "
                "Run this again: what that one makes is reused."
            )


@contextmanager
def held(objects: Objects, key: str, what: str) -> Iterator[Claim]:
    """Hold a claim that holds across machines: an object that only one can create, renewed while it is held.

    A claim that was not renewed for ``LEASE`` seconds, by the watcher's own clock, is taken over.
    """
    claim = Claim(what, uuid.uuid4().hex)
    claim.etag = _taken(objects, key, claim)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE / 4) and not claim.lost:
            try:
                claim.etag = objects.write(key, claim_of(what, claim.by), match=claim.etag)
            except Conflict:
                claim.lost = not _is_by(objects, key, claim)
            except PokeflowError as error:
                log.warning("%s: its claim could not be renewed, trying again: %s", what, error)
        if claim.lost:
            log.warning("%s: its claim was taken over: this machine was away for too long", what)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield claim
    finally:
        over.set()
        thread.join(LEASE / 4)
        try:
            if not claim.lost and _is_by(objects, key, claim):
                objects.delete(key)
        except PokeflowError as error:
            log.warning("%s: its claim stays for %.0f s: %s", what, LEASE, error)


def _is_by(objects: Objects, key: str, claim: Claim) -> bool:
    """Whether what lies there is this claim; its etag is brought up to date."""
    try:
        text, etag = objects.read(key)
    except Missing:
        return False
    except PokeflowError:
        return True  # nobody knows: the next renewal will
    if _read_claim(text).get("by") != claim.by:
        return False
    claim.etag = etag
    return True


def _read_claim(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def claim_of(what: str, by: str, *, host: str | None = None, pid: int | None = None) -> bytes:
    """A claim's text: what is claimed, by which process of which machine. Never the same twice, as its etag must be."""
    who = {"host": host or socket.gethostname(), "pid": pid or os.getpid(), "boot": _boot()}
    return msgspec.json.encode({"what": what, "by": by, "renewal": uuid.uuid4().hex, **who})


def _boot() -> str:
    """What tells machines of one name apart, containers above all, where the system says it."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_gone(text: bytes) -> bool:
    """Whether a claim is by a process of this very machine that has ended."""
    claim = _read_claim(text)
    if (claim.get("host"), claim.get("boot")) != (socket.gethostname(), _boot()):
        return False
    try:
        os.kill(int(claim["pid"]), 0)
    except ProcessLookupError:
        return True
    except (KeyError, ValueError, OSError):
        return False
    return False


def _taken(objects: Objects, key: str, claim: Claim) -> str:
    """Wait for a claim and take it; the etag it was written as."""
    seen, since, told = "", time.monotonic(), False
    while True:
        with suppress(Conflict):
            return objects.write(key, claim_of(claim.what, claim.by), match=ABSENT)
        with suppress(Missing, Conflict):
            text, etag = objects.read(key)
            if etag != seen:
                seen, since = etag, time.monotonic()
            if _is_gone(text) or time.monotonic() - since > LEASE:
                return objects.write(key, claim_of(claim.what, claim.by), match=seen)
        if not told:
            log.info("%s: another machine is making it, waiting", claim.what)
            told = True
        time.sleep(min(1.0, LEASE / 4))
