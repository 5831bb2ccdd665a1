"""Test requests that the server refuses: the messages are clear and nothing is written."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pokeflow.errors import PokeflowError
from pokeflow.objects._base import ABSENT, NotFoundError
from pokeflow_s3 import _client as client
from pokeflow_s3 import _upload as upload
from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.objects_support import LARGE, SIZES, WRITES, keys, left_behind, sha256
from pokeflow_testkit.s3 import Server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten botocore's waits between attempts, which take seconds."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


def every_way(bucket: Bucket, folder: Path) -> list[Callable[[], object]]:
    """Return a call for each kind of request about the object ``a``."""
    return [
        lambda: bucket.read("a"),
        lambda: bucket.stat("a"),
        lambda: bucket.write("a", b"new", match=None),
        lambda: bucket.write("a", b"new", match=ABSENT),
        lambda: list(bucket.list()),
        lambda: bucket.delete("a"),
        lambda: bucket.copy(bucket, "a", "b", match=None),
        lambda: bucket.download("a", folder / "target"),
    ]


@pytest.fixture
def filled(s3: Server, bucket: Bucket) -> Bucket:
    """Return a bucket with the object ``a``, which no refused request may change."""
    bucket.write("a", b"old", match=None)
    return bucket


def require_unchanged(s3: Server, bucket: Bucket) -> None:
    s3.faults()
    assert [(key, bucket.read(key)[0]) for key in keys(bucket)] == [("a", b"old")]


def test_valid_signature_is_accepted_for_any_key(s3: Server, bucket: Bucket, file: Callable[[bytes], Path]) -> None:
    s3.faults(secret=s3.secret)
    for key in ("a b", "é/ü", "a+b=c&d", "~(x)"):
        bucket.write(key, b"1", match=ABSENT)
        assert bucket.read(key)[0] == b"1"
    bucket.upload(file(LARGE), "large", sha256=sha256(LARGE), match=None)
    assert len(keys(bucket)) == 5


def test_wrong_secret_is_reported_but_not_shown(s3: Server, filled: Bucket, tmp_path: Path) -> None:
    s3.faults(secret="another-secret")
    head_denied = (
        r"access denied \(HeadObject\).*a wrong secret key, expired credentials or a wrong clock look the same"
    )
    for ask in every_way(filled, tmp_path):
        with pytest.raises(PokeflowError, match=f"the secret key does not match the access key|{head_denied}") as error:
            ask()
        assert s3.secret not in str(error.value)
    with pytest.raises(PokeflowError, match="rejects the signature: the secret key does not match the access key"):
        filled.read("a")
    require_unchanged(s3, filled)


@pytest.mark.parametrize("seconds", [-1000, 1000])
def test_wrong_clock_is_reported(s3: Server, filled: Bucket, seconds: float) -> None:
    s3.faults(clock=seconds)
    with pytest.raises(PokeflowError, match="this machine's clock is wrong by more than 15 minutes"):
        filled.write("a", b"new", match=None)
    require_unchanged(s3, filled)


def test_clock_that_differs_by_minutes_is_accepted(s3: Server, filled: Bucket) -> None:
    s3.faults(clock=600)
    assert filled.read("a")[0] == b"old"


def test_bucket_in_another_region_takes_one_redirect(s3: Server, filled: Bucket, tmp_path: Path) -> None:
    s3.faults(region="eu-west-1")
    assert Bucket(s3.name, "pre/fix", server=client.Server(region="eu-west-1")).read("a")[0] == b"old"
    assert "301" not in s3.counts()["statuses"]
    fresh = Bucket(s3.name, "pre/fix", server=client.Server(region="us-west-2"))
    assert fresh.read("a")[0] == b"old"
    assert s3.counts()["statuses"]["301"] == 1
    fresh.write("b", b"new", match=ABSENT)
    fresh.copy(fresh, "b", "c", match=None)
    fresh.download("c", tmp_path / "target")
    fresh.delete("a")
    assert keys(fresh) == ["b", "c"]
    assert s3.counts()["statuses"]["301"] == 1


@pytest.mark.parametrize("fault", ["internal", "slowdown"])
def test_server_error_is_retried_then_reported(s3: Server, filled: Bucket, fault: str) -> None:
    s3.faults(**{fault: 1.0}, times=2)
    assert filled.read("a")[0] == b"old"
    s3.faults(**{fault: 1.0})
    tired = Bucket(s3.name, "pre/fix", server=client.Server(attempts=3))
    with pytest.raises(
        PokeflowError, match=r"too busy or out of order \(attempts: 3\)\. Run the same command again later"
    ):
        tired.write("a", b"new", match=None)
    require_unchanged(s3, filled)


def test_copy_error_with_status_200_is_retried(s3: Server, filled: Bucket) -> None:
    s3.faults(hidden=1.0, only=["CopyObject"], times=2)
    assert filled.copy(filled, "a", "b", match=ABSENT) == hashlib.sha256(b"old").hexdigest()
    assert s3.counts()["faults"] == {"hidden": 2}
    assert filled.read("b")[0] == b"old"


def test_repeated_copy_error_with_status_200_is_reported(s3: Server, filled: Bucket) -> None:
    s3.faults(hidden=1.0, only=["CopyObject"])
    tired = Bucket(s3.name, "pre/fix", server=client.Server(attempts=3))
    with pytest.raises(PokeflowError, match="too busy or out of order"):
        tired.copy(tired, "a", "b", match=None)
    require_unchanged(s3, filled)


def test_part_copy_error_with_status_200_is_retried(
    s3: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "COPY_WHOLE", 6 << 20)
    monkeypatch.setattr(upload, "COPY_PART", 6 << 20)
    data = LARGE[: 13 << 20]
    s3.client().put_object(Bucket=s3.name, Key="pre/fix/a", Body=data, Metadata={"sha256": sha256(data)})
    s3.faults(hidden=1.0, only=["UploadPartCopy"], times=2)
    assert bucket.copy(bucket, "a", "b", match=ABSENT) == sha256(data)
    assert bucket.sha256("b") == sha256(data)
    assert left_behind(s3) == []


@pytest.mark.parametrize("match", [None, ABSENT])
def test_completion_error_with_status_200_is_retried(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], match: str | None
) -> None:
    s3.faults(hidden=1.0, only=["CompleteMultipartUpload"], times=2)
    bucket.upload(file(LARGE), "a", sha256=sha256(LARGE), match=match)
    assert s3.counts()["faults"] == {"hidden": 2}
    assert bucket.sha256("a") == sha256(LARGE)
    assert left_behind(s3) == []


@pytest.mark.slow
def test_repeated_completion_error_leaves_no_object(s3: Server, bucket: Bucket, file: Callable[[bytes], Path]) -> None:
    s3.faults(hidden=1.0, only=["CompleteMultipartUpload"])
    tired = Bucket(s3.name, "pre/fix", server=client.Server(attempts=2))
    with pytest.raises(PokeflowError, match="too busy or out of order"):
        tired.upload(file(LARGE), "a", sha256=sha256(LARGE), match=None)
    assert keys(bucket) == []
    assert left_behind(s3) == []


def test_missing_object_without_list_permission_is_denied(s3: Server, filled: Bucket, tmp_path: Path) -> None:
    s3.faults(lists=False)
    assert filled.read("a")[0] == b"old"
    needed = (
        r"access denied \((Get|Head)Object\)\. Needed: s3:GetObject, and s3:ListBucket to distinguish missing objects"
    )
    for ask in (
        lambda: filled.read("missing"),
        lambda: filled.stat("missing"),
        lambda: filled.download("missing", tmp_path / "target"),
        lambda: filled.copy(filled, "missing", "b", match=None),
    ):
        with pytest.raises(PokeflowError, match=needed) as error:
            ask()
        assert not isinstance(error.value, NotFoundError)
    with pytest.raises(PokeflowError, match=r"access denied \(ListObjectsV2\)\. Needed: s3:ListBucket"):
        list(filled.list())
    require_unchanged(s3, filled)


@pytest.mark.parametrize("data", WRITES, ids=SIZES)
def test_writing_works_without_list_permission(
    s3: Server, bucket: Bucket, file: Callable[[bytes], Path], data: bytes
) -> None:
    s3.faults(lists=False)
    bucket.upload(file(data), "a", sha256=sha256(data), match=ABSENT)
    assert bucket.sha256("a") == sha256(data)
