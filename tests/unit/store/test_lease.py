"""Hold leases: one process at a time, renewed while held, and taken over from processes that ended."""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects import ObjectStore, open_uri
from pokeflow.objects._base import NotFoundError, PreconditionError
from pokeflow.objects._folder import Folder
from pokeflow.store import _lease as leases

KEY = "leases/x"
LEASE = leases.LEASE_SECONDS
GONE = 2**22 + 1
"""A process id that no process has: Linux gives none above 2**22."""


class Bucket(Folder):
    """A folder of objects; ``before`` is called with the method's name before each read, write and deletion."""

    before: Callable[[str], object] = staticmethod(lambda name: None)

    def read(self, key: str) -> tuple[bytes, str]:
        Bucket.before("read")
        return super().read(key)

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        Bucket.before("write")
        return super().write(key, data, match=match)

    def delete(self, key: str) -> None:
        Bucket.before("delete")
        super().delete(key)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(Bucket, "before", staticmethod(lambda name: None))
    return Bucket(tmp_path / "bucket")


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Open a folder, and a bucket whose etags depend on the bytes alone, as those of S3 do."""
    if request.param == "folder":
        return Folder(tmp_path / "bucket")
    server = request.getfixturevalue("s3")
    return open_uri(server.uri, endpoint=server.endpoint)


class Clock:
    """A waiting process's clock, which moves on while it waits; ``then`` is called after each wait."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.began = self.now = 1000.0
        self.then, self.waits = then, list[float]()

    @property
    def passed(self) -> float:
        return self.now - self.began

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        assert seconds > 0
        assert self.passed < 10 * LEASE, "nothing ends the wait"
        self.then()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


class Ticks:
    """An event whose waits end only when the test lets time pass, or sets it."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self._waiting, self._due = queue.SimpleQueue[None](), queue.SimpleQueue[bool]()

    def wait(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        self._waiting.put(None)
        return self._due.get(timeout=60)

    def set(self) -> None:
        self._due.put(True)

    def let_pass(self) -> None:
        """End one wait, and return once the holder waits again or has stopped waiting."""
        self._waiting.get(timeout=60)
        self._due.put(False)


class Thread(threading.Thread):
    """A thread that records the timeout of its last join."""

    joined: float | None = None

    def join(self, timeout: float | None = None) -> None:
        self.joined = timeout
        super().join(timeout)


class Renewals:
    """The renewals of a lease, one at a time."""

    def __init__(self) -> None:
        self.ticks, self.threads = Ticks(), list[Thread]()

    def make_thread(self, **options: Any) -> Thread:
        self.threads.append(Thread(**options))
        return self.threads[-1]

    def renew(self, times: int = 1) -> None:
        """Let a quarter of a lease pass, so many times; return once the last renewal is done."""
        for _ in range(times):
            self.ticks.let_pass()
        (thread,) = self.threads
        while thread.is_alive() and self.ticks._waiting.empty():
            time.sleep(0.001)


@pytest.fixture
def renewals(monkeypatch: pytest.MonkeyPatch) -> Renewals:
    renewals = Renewals()
    double = SimpleNamespace(Event=lambda: renewals.ticks, Thread=renewals.make_thread)
    monkeypatch.setattr(leases, "threading", double)
    return renewals


def elsewhere(**changes: Any) -> bytes:
    """Return a lease of another machine, with new bytes each time, as in a renewal."""
    return leases.serialize_lease("x", "other", host="elsewhere", **changes)


def fail_once(name: str, error: Exception) -> Callable[[str], None]:
    """Return a hook that raises the error before the first call of this name."""
    left = [error]

    def before(called: str) -> None:
        if called == name and left:
            raise left.pop()

    return before


def test_lease_is_an_object_while_it_is_held(bucket: Bucket) -> None:
    with leases.hold_lease(bucket, KEY, "train:m") as lease:
        text, etag = bucket.read(KEY)
        fields = leases._parse_lease(text)
        assert (fields["what"], fields["by"], fields["pid"]) == ("train:m", lease.by, os.getpid())
        assert (lease.etag, lease.lost) == (etag, False)
        lease.require_held()
    assert bucket.stat(KEY) is None


def test_lease_is_released_after_an_error(bucket: Bucket) -> None:
    with pytest.raises(ZeroDivisionError), leases.hold_lease(bucket, KEY, "x"):
        raise ZeroDivisionError
    assert bucket.stat(KEY) is None


def test_a_lease_is_held_by_one_at_a_time(storage: ObjectStore, clock: Clock) -> None:
    order: list[str] = []
    first = leases.hold_lease(storage, KEY, "x")
    first.__enter__()

    def release() -> None:
        if len(clock.waits) == 3:
            order.append("first")
            first.__exit__(None, None, None)

    clock.then = release
    with leases.hold_lease(storage, KEY, "x"):
        order.append("second")
    assert order == ["first", "second"]
    with pytest.raises(NotFoundError):
        storage.read(KEY)


def test_waiting_is_logged_once_and_polls_every_second(
    bucket: Bucket, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bucket.write(KEY, elsewhere(), match=None)
    with leases.hold_lease(bucket, KEY, "train:m"):
        assert set(clock.waits) == {1.0}
    assert caplog.messages == ["train:m: another machine is running it, waiting"]


def test_waiting_polls_four_times_per_lease(bucket: Bucket, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 2.0)
    bucket.write(KEY, elsewhere(), match=None)
    with leases.hold_lease(bucket, KEY, "x"):
        assert clock.waits == [0.5] * 5


def test_a_lease_lasts_a_minute_without_renewal(storage: ObjectStore, clock: Clock) -> None:
    storage.write(KEY, elsewhere(), match=None)
    with leases.hold_lease(storage, KEY, "x"):
        assert clock.passed == LEASE + 1 == 61


@pytest.mark.slow
def test_a_lease_that_is_renewed_is_not_taken_over(storage: ObjectStore, clock: Clock) -> None:
    renewals = [30, 60, 90]

    def renew() -> None:
        if renewals and clock.passed == renewals[0]:
            renewals.pop(0)
            storage.write(KEY, elsewhere(), match=None)

    clock.then = renew
    storage.write(KEY, elsewhere(), match=None)
    with leases.hold_lease(storage, KEY, "x"):
        assert clock.passed == 90 + LEASE + 1


def test_lease_of_an_ended_local_process_is_taken_over_at_once(bucket: Bucket, clock: Clock) -> None:
    bucket.write(KEY, leases.serialize_lease("x", "a", pid=GONE), match=None)
    with leases.hold_lease(bucket, KEY, "x"):
        assert clock.waits == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        leases.serialize_lease("x", "a"),
        leases.serialize_lease("x", "a", host="elsewhere", pid=GONE),
        leases.serialize_lease("x", "a", pid=GONE).replace(leases._boot().encode(), b"another boot"),
        leases.serialize_lease("x", "a").replace(b'"pid"', b'"dip"'),
        leases.serialize_lease("x", "a").replace(b'"pid":', b'"pid":"x","dip":'),
    ],
    ids=["empty", "garbage", "list", "mapping", "alive", "elsewhere", "another boot", "no pid", "wrong pid"],
)
def test_a_lease_whose_holder_may_be_alive_is_waited_for(bucket: Bucket, clock: Clock, text: bytes) -> None:
    bucket.write(KEY, text, match=None)
    with leases.hold_lease(bucket, KEY, "x"):
        assert clock.passed == LEASE + 1


def test_lease_of_another_user_s_process_is_waited_for(
    bucket: Bucket, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, signal: int) -> None:
        assert signal == 0, "the process is looked at, not ended"
        raise PermissionError

    monkeypatch.setattr(leases.os, "kill", kill)
    bucket.write(KEY, leases.serialize_lease("x", "a", pid=GONE), match=None)
    with leases.hold_lease(bucket, KEY, "x"):
        assert clock.passed == LEASE + 1


def test_second_process_to_take_over_a_lease_waits(bucket: Bucket, clock: Clock) -> None:
    """Let another machine take it over after this one has read the old lease, and before it writes its own."""
    bucket.write(KEY, elsewhere(), match=None)
    theirs = elsewhere()
    held: list[bytes] = []

    def interfere(name: str) -> None:
        if name == "write" and clock.passed == LEASE + 1 and not held:
            held.append(theirs)
            Folder.write(bucket, KEY, theirs, match=None)

    def look() -> None:
        if clock.passed == 2 * LEASE:
            assert Folder.read(bucket, KEY)[0] == theirs

    # The write that takes over is the second of this moment: the first one finds that the key is not free.
    calls: list[str] = []

    def before(name: str) -> None:
        if clock.passed == LEASE + 1:
            calls.append(name)
            if calls == ["write", "read", "write"]:
                interfere(name)

    Bucket.before = staticmethod(before)  # type: ignore[method-assign]
    clock.then = look
    with leases.hold_lease(bucket, KEY, "x"):
        assert held == [theirs]
        assert clock.passed > 2 * LEASE


def test_lease_deleted_while_it_is_read_is_tried_again(bucket: Bucket, clock: Clock) -> None:
    bucket.write(KEY, elsewhere(), match=None)
    Bucket.before = staticmethod(  # type: ignore[method-assign]
        lambda name: Folder.delete(bucket, KEY) if name == "read" and bucket.stat(KEY) else None
    )
    with leases.hold_lease(bucket, KEY, "x"):
        assert clock.waits == [1.0]


def test_network_error_does_not_grant_a_lease(bucket: Bucket) -> None:
    Bucket.before = staticmethod(fail_once("write", PokeflowError("no network")))  # type: ignore[method-assign]
    with pytest.raises(PokeflowError, match="no network"), leases.hold_lease(bucket, KEY, "x"):
        pytest.fail("it was held")


def test_a_lease_is_renewed_four_times_before_it_ends(bucket: Bucket, renewals: Renewals) -> None:
    with leases.hold_lease(bucket, KEY, "x") as lease:
        seen = [bucket.read(KEY)]
        for _ in range(3):
            renewals.renew()
            seen.append(bucket.read(KEY))
        assert len({text for text, _ in seen}) == len({etag for _, etag in seen}) == 4
        assert lease.etag == seen[-1][1]
        assert not lease.lost
        assert set(renewals.ticks.timeouts) == {LEASE / 4}
        assert renewals.threads[0].daemon, "a thread that renews must not keep a program alive"
    assert not renewals.threads[0].is_alive()
    assert renewals.threads[0].joined == LEASE / 4
    assert bucket.stat(KEY) is None


def test_lost_lease_is_reported_and_the_new_one_kept(
    bucket: Bucket, renewals: Renewals, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = elsewhere()
    with leases.hold_lease(bucket, KEY, "train:m") as lease:
        bucket.write(KEY, theirs, match=None)
        renewals.renew()
        assert lease.lost
        renewals.renew()
        assert not renewals.threads[0].is_alive(), "there is nothing left to renew"
        with pytest.raises(PokeflowError, match=r"train:m: this machine did not renew its lease for 60 s, and another"):
            lease.require_held()
    assert bucket.read(KEY)[0] == theirs
    assert caplog.messages == ["train:m: its lease was taken over, as it was not renewed in time"]


def test_a_lease_that_was_removed_is_lost(bucket: Bucket, renewals: Renewals) -> None:
    with leases.hold_lease(bucket, KEY, "x") as lease:
        bucket.delete(KEY)
        renewals.renew()
        assert lease.lost


def test_lost_lease_is_not_deleted_even_if_it_reappears(bucket: Bucket, renewals: Renewals) -> None:
    with leases.hold_lease(bucket, KEY, "x") as lease:
        mine = bucket.read(KEY)[0]
        bucket.delete(KEY)
        renewals.renew()
        bucket.write(KEY, mine, match=None)
    assert lease.lost
    assert bucket.stat(KEY) is not None


def test_lease_taken_over_between_renewals_is_not_deleted(bucket: Bucket) -> None:
    theirs = elsewhere()
    with leases.hold_lease(bucket, KEY, "x"):
        bucket.write(KEY, theirs, match=None)
    assert bucket.read(KEY)[0] == theirs


def test_a_renewal_whose_answer_was_lost_is_no_loss_of_the_lease(bucket: Bucket, renewals: Renewals) -> None:
    """Store the write but lose its answer, so that the object has another etag than this process knows."""
    with leases.hold_lease(bucket, KEY, "x") as lease:
        bucket.write(KEY, leases.serialize_lease("x", lease.by), match=None)
        renewals.renew()
        assert not lease.lost
        assert lease.etag == bucket.read(KEY)[1]
        before = bucket.read(KEY)
        renewals.renew()
        assert bucket.read(KEY) != before


def test_failed_renewal_is_reported_and_retried(
    bucket: Bucket, renewals: Renewals, caplog: pytest.LogCaptureFixture
) -> None:
    with leases.hold_lease(bucket, KEY, "train:m") as lease:
        before = bucket.read(KEY)
        Bucket.before = staticmethod(fail_once("write", PokeflowError("no network")))  # type: ignore[method-assign]
        renewals.renew()
        assert bucket.read(KEY) == before
        renewals.renew()
        assert bucket.read(KEY) != before
        assert not lease.lost
    assert caplog.messages == ["train:m: its lease could not be renewed and is retried: no network"]


def test_lease_is_kept_when_its_loss_cannot_be_checked(bucket: Bucket, renewals: Renewals) -> None:
    def refuse(name: str) -> None:
        if name == "write":
            raise PreconditionError("another one")
        raise PokeflowError("no network")

    with leases.hold_lease(bucket, KEY, "x") as lease:
        Bucket.before = staticmethod(refuse)  # type: ignore[method-assign]
        renewals.renew()
        assert not lease.lost
        Bucket.before = staticmethod(lambda name: None)  # type: ignore[method-assign]


def test_lease_that_cannot_be_deleted_is_reported(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    with leases.hold_lease(bucket, KEY, "train:m"):
        Bucket.before = staticmethod(fail_once("delete", PokeflowError("no network")))  # type: ignore[method-assign]
    assert caplog.messages == ["train:m: its lease was not deleted and expires in 60 s: no network"]


def test_a_machine_without_these_files_has_no_boot_id(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(leases._boot()) > 36

    def readlink(path: Path) -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "readlink", readlink)
    assert leases._boot() == ""
