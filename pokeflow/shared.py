"""The shared half of a store: finished tasks in a bucket, sent once they are kept here, fetched when needed."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Conflict, Missing, Objects, require_key
from pokeflow.objects.parallel import each
from pokeflow.types import File, Record

log = logging.getLogger("pokeflow")
RECORD, LOG = "record.json", "log.txt"
LEASE = 60.0
"""Seconds after which a claim that nobody renews may be taken over: its holder was killed, or lost the network."""
_decoder = msgspec.json.Decoder(Record)


def load(objects: Objects, path: str) -> Record | None:
    """The record of a finished task that was shared, or None; one that is damaged counts as none, and is told."""
    key = f"{path}/{RECORD}"
    try:
        record = _decoder.decode(objects.read(key)[0])
        for file in record.files:
            require_key(file.path)
    except Missing:
        return None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        log.warning("%s/%s is not readable (%s): the task counts as not done", objects.uri, key, error)
        return None
    return record


def send(objects: Objects, path: str, folder: Path, record: Record) -> None:
    """Share a finished task: the files, then the record; whoever sees the record finds every file.

    A result that is being replaced loses its record first, so that no reader takes new files for the old ones.
    """
    if (there := load(objects, path)) is not None:
        if (there.content, there.started) == (record.content, record.started):
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
    for name in (LOG, RECORD):
        if (folder / name).is_file():
            objects.write(f"{path}/{name}", (folder / name).read_bytes(), match=None)


def fetch(objects: Objects, path: str, record: Record, draft: Path) -> None:
    """Bring a shared task's files into a folder of this machine; what an earlier attempt brought is kept."""

    def one(file: File, advance: object) -> None:
        target = draft / file.path
        if target.is_file() and target.stat().st_size == file.size:
            return  # downloads are whole or not there
        target.parent.mkdir(parents=True, exist_ok=True)
        objects.download(f"{path}/{file.path}", target, sha256=file.sha256, advance=advance)  # type: ignore[arg-type]

    draft.mkdir(parents=True, exist_ok=True)
    each(one, record.files, label=f"fetching {record.task}", total=sum(file.size for file in record.files))
    for name in (LOG, RECORD):
        try:
            data, _ = objects.read(f"{path}/{name}")
        except Missing:
            continue
        (draft / name).write_bytes(data)


@contextmanager
def held(objects: Objects, key: str, what: str) -> Iterator[None]:
    """Hold a claim that holds across machines: an object that only one can create, renewed while it is held.

    A claim that was not renewed for ``LEASE`` seconds, by this machine's own clock, is taken over.
    """
    mine = claim_of(what)
    state = {"etag": _taken(objects, key, mine, what)}
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE / 4):
            try:
                state["etag"] = objects.write(key, mine, match=state["etag"])
            except Conflict:
                log.warning("%s: its claim was taken over: this machine was away for too long", what)
                state["etag"] = ""
                return
            except PokeflowError as error:
                log.warning("%s: its claim could not be renewed, trying again: %s", what, error)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if state["etag"]:
            try:
                objects.delete(key)
            except PokeflowError as error:
                log.warning("%s: its claim stays for %.0f s: %s", what, LEASE, error)


def claim_of(what: str, *, host: str | None = None, pid: int | None = None) -> bytes:
    """A claim's text: what is claimed, by which process of which machine."""
    who = {"host": host or socket.gethostname(), "pid": pid or os.getpid(), "boot": _boot()}
    return msgspec.json.encode({"what": what, "by": uuid.uuid4().hex, **who})


def _boot() -> str:
    """What tells machines of one name apart, containers above all, where the system says it."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_gone(text: bytes) -> bool:
    """Whether a claim is by a process of this very machine that has ended."""
    try:
        claim = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return False
    if (claim.get("host"), claim.get("boot")) != (socket.gethostname(), _boot()):
        return False
    try:
        os.kill(int(claim["pid"]), 0)
    except ProcessLookupError:
        return True
    except (KeyError, ValueError, OSError):
        return False
    return False


def _taken(objects: Objects, key: str, mine: bytes, what: str) -> str:
    seen, since, told = "", time.monotonic(), False
    while True:
        try:
            return objects.write(key, mine, match=ABSENT)
        except Conflict:
            pass
        try:
            text, etag = objects.read(key)
        except Missing:
            continue
        if etag != seen:
            seen, since = etag, time.monotonic()
        if _is_gone(text) or time.monotonic() - since > LEASE:
            try:
                return objects.write(key, mine, match=seen)
            except (Conflict, Missing):
                continue
        if not told:
            log.info("%s: another machine is making it, waiting", what)
            told = True
        time.sleep(min(1.0, LEASE / 4))
