"""Test a bucket under network faults: lost answers, cut connections, damage and concurrent writers."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import ABSENT, IntegrityError, PreconditionError
from pokeflow.objects._transfer import each
from pokeflow_s3 import _client as s3_client
from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.objects_support import LARGE, SIZES, WRITES, keys, left_behind, sha256
from pokeflow_testkit.s3 import Server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten botocore's waits between attempts, which take seconds."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


@pytest.mark.parametrize("match", [None, ABSENT, "etag"])
@pytest.mark.parametrize("data", WRITES, ids=SIZES)
def test_write_with_a_lost_answer_is_detected_as_done(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], data: bytes, match: str | None
) -> None:
    if match == "etag":
        match = bucket.write("a", b"old", match=None)
    s3.faults(lost=1.0, only=["PutObject", "CompleteMultipartUpload"], times=1)
    bucket.upload(file(data), "a", sha256=sha256(data), match=match)
    assert s3.counts()["faults"] == {"lost": 1}
    assert bucket.sha256("a") == sha256(data)
    assert left_behind(s3) == []


def test_lost_answer_to_a_replaced_write_is_a_conflict(s3: Server, bucket: Bucket) -> None:
    etag = bucket.write("a", b"old", match=None)
    bucket.write("a", b"other", match=None)
    s3.faults(lost=1.0, only=["PutObject"], times=1)
    with pytest.raises(PreconditionError):
        bucket.write("a", b"mine", match=etag)
    assert bucket.read("a")[0] == b"other"


@pytest.mark.parametrize("match", [ABSENT, "etag"])
def test_copy_with_a_lost_answer_is_detected_as_done(s3: Server, bucket: Bucket, match: str) -> None:
    bucket.write("a", b"new", match=None)
    if match == "etag":
        match = bucket.write("b", b"old", match=None)
    s3.faults(lost=1.0, only=["CopyObject"], times=1)
    assert bucket.copy(bucket, "a", "b", match=match) == sha256(b"new")


@pytest.mark.parametrize("fault", ["slowdown", "cut", "lost"])
def test_intermittent_faults_are_retried(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], tmp_path: Path, fault: str
) -> None:
    s3.faults(**{fault: 0.1}, seed=1)
    bucket.upload(file(LARGE), "large", sha256=sha256(LARGE), match=ABSENT)
    items = [(f"{n:02}", bytes([n]) * 1000) for n in range(60)]
    each(lambda item, _: bucket.write(*item, match=ABSENT), items, label="x", total=0, workers=4)
    assert keys(bucket) == [*(key for key, _ in items), "large"]
    assert all(bucket.read(key)[0] == data for key, data in items)
    assert bucket.download("large", tmp_path / "target") == sha256(LARGE)
    assert s3.counts()["faults"][fault] > 3


@pytest.mark.slow
@pytest.mark.parametrize("data", [*WRITES, LARGE * 2], ids=[*SIZES, "larger"])
def test_read_resumes_where_the_connection_was_cut(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], tmp_path: Path, data: bytes
) -> None:
    bucket.upload(file(data), "a", sha256=sha256(data), match=None)
    passed: list[float] = []
    s3.faults(cut=1.0, only=["GetObject"], times=3)
    assert bucket.download("a", tmp_path / "target", advance=passed.append) == sha256(data)
    assert sum(passed) == len(data)
    s3.faults(cut=1.0, only=["GetObject"], times=3)
    assert bucket.sha256("a") == sha256(data)
    s3.faults(cut=1.0, only=["GetObject"], times=3)
    assert bucket.read("a")[0] == data


@pytest.mark.slow
def test_connection_that_is_always_cut_is_reported(s3: Server, bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("a", b"data", match=None)
    s3.faults(cut=1.0, only=["GetObject"])
    with pytest.raises(PokeflowError, match="pre/fix/a: the connection was cut"):
        bucket.download("a", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("data", WRITES, ids=SIZES)
def test_concurrent_conflict_is_retried(s3: Server, bucket: Bucket, file: Callable[[bytes], Path], data: bytes) -> None:
    passed: list[float] = []
    s3.faults(conflict=1.0, times=2)
    bucket.upload(file(data), "a", sha256=sha256(data), match=ABSENT, advance=passed.append)
    assert bucket.sha256("a") == sha256(data)
    assert sum(passed) == len(data)
    s3.faults(conflict=1.0)
    with pytest.raises(PreconditionError, match="at the same moment"):
        bucket.write("b", b"", match=ABSENT)


@pytest.mark.slow
def test_file_that_changes_during_upload_is_not_stored(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path]
) -> None:
    s3.faults(latency=0.05)
    data = LARGE * 2
    source, changed = file(data), threading.Event()
    bucket = Bucket(s3.name, "pre/fix", server=s3_client.Server(connections=1))

    def change(_: float) -> None:
        if not changed.is_set():
            changed.set()
            with source.open("r+b") as out:
                out.seek(-1, os.SEEK_END)
                out.write(b"!")

    with pytest.raises(IntegrityError, match="file: the checksum"):
        bucket.upload(source, "a", sha256=sha256(data), match=None, advance=change)
    assert changed.is_set()
    assert bucket.stat("a") is None
    assert left_behind(s3) == []


@pytest.mark.parametrize("size", [5, 18 << 20], ids=SIZES)
def test_object_with_a_wrong_checksum_is_not_downloaded(s3: Server, bucket: Bucket, tmp_path: Path, size: int) -> None:
    body, said = bytes(size), {"sha256": sha256(b"something else")}
    s3.client().put_object(Bucket=s3.name, Key="pre/fix/a", Body=body, Metadata=said)
    with pytest.raises(IntegrityError, match=r"s3://.*/pre/fix/a: the checksum"):
        bucket.download("a", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []
    assert bucket.sha256("a") == sha256(body)


def test_aborted_upload_leaves_no_parts(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], caplog: pytest.LogCaptureFixture
) -> None:
    def leave(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bucket.upload(file(LARGE), "a", sha256=sha256(LARGE), match=None, advance=leave)
    assert left_behind(s3) == []
    assert keys(bucket) == []
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and r.name == "pokeflow"]


SENDING = """
import sys
from pathlib import Path
from pokeflow_s3._bucket import Bucket
from pokeflow.objects import _transfer
_transfer.LEAVE = 60.0  # a busy machine may take longer than usual to abort its uploads
def send(n, advance):
    def report(n):
        print("sent", flush=True)
        advance(n)
    Bucket(sys.argv[1]).upload(Path(sys.argv[2]), str(n), sha256=sys.argv[3], match=None, advance=report)
_transfer.each(send, range(2), label="x", total=1)
"""


@pytest.mark.slow
def test_ctrl_c_aborts_the_uploads_of_parts(s3: Server, file: Callable[[bytes], Path]) -> None:
    s3.faults(latency=0.3)
    data = LARGE * 4
    command = [sys.executable, "-c", SENDING, s3.name, str(file(data)), sha256(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGINT
    s3.faults()
    assert left_behind(s3) == []


def test_target_that_is_a_folder_is_reported(bucket: Bucket, tmp_path: Path) -> None:
    bucket.write("a", b"", match=None)
    (tmp_path / "target" / "full").mkdir(parents=True)
    with pytest.raises(PokeflowError, match="target: "):
        bucket.download("a", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_bytes_damaged_in_transit_are_refused(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = file(b"right")
    client = bucket.client

    class Flipping:
        def put_object(self, **request: Any) -> Any:
            return client.put_object(**{**request, "Body": b"wrong"})

    monkeypatch.setattr(bucket.connection, "_client", Flipping())
    try:
        with pytest.raises(IntegrityError, match="damaged in transit"):
            bucket.upload(source, "a", sha256=sha256(b"right"), match=None)
    finally:
        monkeypatch.undo()
    assert Bucket(s3.name).client is not None


def test_only_one_of_many_writers_creates_the_object(bucket: Bucket) -> None:
    gate = threading.Barrier(8)

    def write(n: int) -> bool:
        gate.wait(30)
        try:
            bucket.write("a", b"%d" % n, match=ABSENT)
        except PreconditionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [n for n, first in enumerate(pool.map(write, range(8))) if first]
    assert [b"%d" % n for n in won] == [bucket.read("a")[0]]


@pytest.mark.slow
def test_concurrent_appends_survive_lost_answers(s3: Server, bucket: Bucket) -> None:
    bucket.write("log", b"", match=ABSENT)
    s3.faults(slowdown=0.05, lost=0.1, conflict=0.05, seed=2)

    def write(me: int) -> None:
        for n in range(12):
            while True:
                data, etag = bucket.read("log")
                if b"%d-%d" % (me, n) in data.split():
                    break  # an attempt whose answer was lost has appended it
                try:
                    bucket.write("log", data + b"%d-%d " % (me, n), match=etag)
                    break
                except PreconditionError:
                    continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    s3.faults()
    assert sorted(bucket.read("log")[0].split()) == sorted(b"%d-%d" % (me, n) for me in range(4) for n in range(12))


def test_object_replaced_during_a_read_is_read_again(s3: Server, bucket: Bucket) -> None:
    first, second = bytes(3 << 20), b"1" * (3 << 20)
    bucket.write("a", first, match=None)
    client = bucket.client

    class Replacing:
        def get_object(self, **request: Any) -> Any:
            answer = client.get_object(**request)
            if not done:
                done.append(1)
                answer["Body"].close()
                client.put_object(Bucket=s3.name, Key="pre/fix/a", Body=second)
            return answer

    done: list[int] = []
    bucket.connection._client = Replacing()
    try:
        assert bucket.read("a")[0] == second
    finally:
        bucket.connection._client = client
