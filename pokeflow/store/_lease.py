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
LEASE_SECONDS = 60.0
"""Seconds after which a lease without renewal may be taken over: its holder was killed, or lost the network."""


@dataclass(slots=True)
class Lease:
    """A held lease, with the ETag of its last write; ``lost`` is set once another process has taken it over."""

    label: str
    by: str
    etag: str = ""
    lost: bool = False

    def require_held(self) -> None:
        """Raise a PokeflowError if the lease has been lost."""
        if self.lost:
            raise PokeflowError(
                f"{self.label}: this machine did not renew its lease for {LEASE_SECONDS:.0f} s, and another took it "
                "over. Run the same command again: the result of that one is reused."
            )


@contextmanager
def hold_lease(objects: ObjectStore, key: str, label: str) -> Iterator[Lease]:
    """Hold a lease across machines: an object that only one process can create, and that is renewed while held.

    A lease that was not renewed for ``LEASE_SECONDS`` seconds, by the clock of the waiting process, is taken over.
    """
    lease = Lease(label, uuid.uuid4().hex)
    lease.etag = _acquire(objects, key, lease)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE_SECONDS / 4) and not lease.lost:
            try:
                lease.etag = objects.write(key, serialize_lease(label, lease.by), match=lease.etag)
            except PreconditionError:
                lease.lost = not _is_ours(objects, key, lease)
            except PokeflowError as error:
                log.warning("%s: its lease could not be renewed and is retried: %s", label, error)
        if lease.lost:
            log.warning("%s: its lease was taken over, as it was not renewed in time", label)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join(LEASE_SECONDS / 4)
        try:
            if not lease.lost and _is_ours(objects, key, lease):
                objects.delete(key)
        except PokeflowError as error:
            log.warning("%s: its lease was not deleted and expires in %.0f s: %s", label, LEASE_SECONDS, error)


def _is_ours(objects: ObjectStore, key: str, lease: Lease) -> bool:
    """Return whether the stored object is this lease, and update the lease's ETag if so."""
    try:
        text, etag = objects.read(key)
    except NotFoundError:
        return False
    except PokeflowError:
        return True  # unknown at present: the next renewal finds out
    if _parse_lease(text).get("by") != lease.by:
        return False
    lease.etag = etag
    return True


def _parse_lease(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def serialize_lease(label: str, by: str, *, host: str | None = None, pid: int | None = None) -> bytes:
    """Serialize a lease with its process and machine; the bytes differ each time, so that each write has a new ETag."""
    holder = {"host": host or socket.gethostname(), "pid": pid or os.getpid(), "boot": _boot()}
    return msgspec.json.encode({"what": label, "by": by, "renewal": uuid.uuid4().hex, **holder})


def _boot() -> str:
    """Return an id that distinguishes machines with the same host name, mainly containers; empty if unavailable."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_gone(text: bytes) -> bool:
    """Return whether a lease belongs to a process of this machine that has ended."""
    lease = _parse_lease(text)
    if (lease.get("host"), lease.get("boot")) != (socket.gethostname(), _boot()):
        return False
    try:
        os.kill(int(lease["pid"]), 0)
    except ProcessLookupError:
        return True
    except (KeyError, ValueError, OSError):
        return False
    return False


def _acquire(objects: ObjectStore, key: str, lease: Lease) -> str:
    """Wait until the lease is free, write it, and return the ETag of that write."""
    last_etag, since, is_logged = "", time.monotonic(), False
    while True:
        with suppress(PreconditionError):
            return objects.write(key, serialize_lease(lease.label, lease.by), match=ABSENT)
        with suppress(NotFoundError, PreconditionError):
            text, etag = objects.read(key)
            if etag != last_etag:
                last_etag, since = etag, time.monotonic()
            if _is_gone(text) or time.monotonic() - since > LEASE_SECONDS:
                return objects.write(key, serialize_lease(lease.label, lease.by), match=last_etag)
        if not is_logged:
            log.info("%s: another machine is running it, waiting", lease.label)
            is_logged = True
        time.sleep(min(1.0, LEASE_SECONDS / 4))
