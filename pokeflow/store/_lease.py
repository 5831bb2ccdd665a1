"""Lease on one task: the exclusive right to run it, among all machines that share a bucket."""

import logging
import os
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

from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, NotFoundError, ObjectStore, PreconditionError

log = logging.getLogger("pokeflow")
LEASE = 60.0
"""Seconds after which a claim without renewal may be taken over: its holder was killed, or lost the network."""


@dataclass(slots=True)
class Lease:
    """A held claim, with the ETag of its last write; ``lost`` is set once another process has taken it over."""

    label: str
    by: str
    etag: str = ""
    lost: bool = False

    def require_held(self) -> None:
        """Raise a PokeflowError if the claim has been lost."""
        if self.lost:
            raise PokeflowError(
                f"{self.label}: this machine did not renew its claim for {LEASE:.0f} s, and another one took it over. "
                "Run the same command again: the result of that one is reused."
            )


@contextmanager
def lease(objects: ObjectStore, key: str, label: str) -> Iterator[Lease]:
    """Hold a claim across machines: an object that only one process can create, and that is renewed while held.

    A claim that was not renewed for ``LEASE`` seconds, by the clock of the waiting process, is taken over.
    """
    claim = Lease(label, uuid.uuid4().hex)
    claim.etag = _acquire(objects, key, claim)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE / 4) and not claim.lost:
            try:
                claim.etag = objects.write(key, claim_of(label, claim.by), match=claim.etag)
            except PreconditionError:
                claim.lost = not _is_ours(objects, key, claim)
            except PokeflowError as error:
                log.warning("%s: its claim could not be renewed and is retried: %s", label, error)
        if claim.lost:
            log.warning("%s: its claim was taken over, as it was not renewed in time", label)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield claim
    finally:
        over.set()
        thread.join(LEASE / 4)
        try:
            if not claim.lost and _is_ours(objects, key, claim):
                objects.delete(key)
        except PokeflowError as error:
            log.warning("%s: its claim was not deleted and expires in %.0f s: %s", label, LEASE, error)


def _is_ours(objects: ObjectStore, key: str, claim: Lease) -> bool:
    """Return whether the stored object is this claim, and update the claim's ETag if so."""
    try:
        text, etag = objects.read(key)
    except NotFoundError:
        return False
    except PokeflowError:
        return True  # unknown at present: the next renewal finds out
    if _read_claim(text).get("by") != claim.by:
        return False
    claim.etag = etag
    return True


def _read_claim(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def claim_of(label: str, by: str, *, host: str | None = None, pid: int | None = None) -> bytes:
    """Serialize a claim with its process and machine; the bytes differ each time, so that each write has a new ETag."""
    holder = {"host": host or socket.gethostname(), "pid": pid or os.getpid(), "boot": _boot()}
    return msgspec.json.encode({"what": label, "by": by, "renewal": uuid.uuid4().hex, **holder})


def _boot() -> str:
    """Return an id that distinguishes machines with the same host name, mainly containers; empty if unavailable."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_gone(text: bytes) -> bool:
    """Return whether a claim belongs to a process of this machine that has ended."""
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


def _acquire(objects: ObjectStore, key: str, claim: Lease) -> str:
    """Wait until the claim is free, write it, and return the ETag of that write."""
    last_etag, since, is_logged = "", time.monotonic(), False
    while True:
        with suppress(PreconditionError):
            return objects.write(key, claim_of(claim.label, claim.by), match=ABSENT)
        with suppress(NotFoundError, PreconditionError):
            text, etag = objects.read(key)
            if etag != last_etag:
                last_etag, since = etag, time.monotonic()
            if _is_gone(text) or time.monotonic() - since > LEASE:
                return objects.write(key, claim_of(claim.label, claim.by), match=last_etag)
        if not is_logged:
            log.info("%s: another machine is running it, waiting", claim.label)
            is_logged = True
        time.sleep(min(1.0, LEASE / 4))
