"""The right to make one task, held by one process among all machines that share a bucket."""

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
from pokeflow.objects import ABSENT, Conflict, Missing, Objects

log = logging.getLogger("pokeflow")
LEASE = 60.0
"""Seconds after which a claim that nobody renews may be taken over: its holder was killed, or lost the network."""


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
