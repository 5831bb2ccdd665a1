"""Test the requests of a bucket: encryption, checksums, few requests, concurrent parts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from pokeflow.objects._base import ABSENT
from pokeflow.objects._transfer import each
from pokeflow_s3 import _client as s3_client
from pokeflow_s3 import _upload as upload
from pokeflow_s3._bucket import Bucket
from pokeflow_testkit.objects_support import LARGE, SIZES, WRITES, keys, sha256
from pokeflow_testkit.s3 import Server


@pytest.mark.parametrize(("encryption", "kms_key"), [("AES256", None), ("aws:kms", "a-key")])
@pytest.mark.parametrize("data", WRITES, ids=SIZES)
def test_all_writes_use_the_configured_encryption(
    s3: Server, file: Callable[[bytes], Path], encryption: str, kms_key: str | None, data: bytes
) -> None:
    s3.faults(encryption=encryption, **({"kms_key": kms_key} if kms_key else {}))
    bucket = Bucket(s3.name, encryption=encryption, kms_key=kms_key)
    bucket.upload(file(data), "a", sha256=sha256(data), match=None)
    bucket.write("b", b"", match=None)
    bucket.copy(bucket, "a", "c", match=None)
    for key in ("a", "b", "c"):
        head = s3.client().head_object(Bucket=s3.name, Key=key)
        assert head["ServerSideEncryption"] == encryption
        assert head.get("SSEKMSKeyId") == kms_key


def test_encryption_null_keeps_the_buckets_own(s3: Server) -> None:
    Bucket(s3.name, encryption=None).write("a", b"", match=None)
    assert "ServerSideEncryption" not in s3.client().head_object(Bucket=s3.name, Key="a")


@pytest.mark.parametrize("data", WRITES, ids=SIZES)
def test_every_object_stores_its_checksum(bucket: Bucket, file: Callable[[bytes], Path], data: bytes) -> None:
    bucket.upload(file(data), "a", sha256=sha256(data), match=None)
    bucket.copy(bucket, "a", "b", match=None)
    for key in ("a", "b"):
        info = bucket.stat(key)
        assert info is not None
        assert info.sha256 == sha256(data)


def test_etag_is_not_used_as_a_checksum(s3: Server, bucket: Bucket) -> None:
    s3.client().put_object(Bucket=s3.name, Key="pre/fix/a", Body=b"by another tool")
    info = bucket.stat("a")
    assert info is not None
    assert info.sha256 is None
    assert bucket.copy(bucket, "a", "b", match=None) == sha256(b"by another tool")


def test_small_files_take_one_request_each(s3: Server, bucket: Bucket, file: Callable[[bytes], Path]) -> None:
    bucket.upload(file(b"small"), "a", sha256=sha256(b"small"), match=ABSENT)
    bucket.download("a", file(b""), sha256=sha256(b"small"))
    assert s3.counts()["requests"] == {"CreateBucket": 1, "PutObject": 1, "GetObject": 1}


def test_parts_are_sent_concurrently(s3: Server, bucket: Bucket, file: Callable[[bytes], Path]) -> None:
    s3.faults(latency=0.2)
    bucket.upload(file(LARGE), "a", sha256=sha256(LARGE), match=None)
    assert s3.counts()["requests"]["UploadPart"] == 3
    assert s3.counts()["most"] >= 2


@pytest.mark.slow
def test_parts_in_memory_are_limited_by_connections(s3: Server, file: Callable[[bytes], Path]) -> None:
    s3.faults(latency=0.05)
    bucket = Bucket(s3.name, server=s3_client.Server(connections=2))
    source = file(LARGE)
    sum_ = sha256(LARGE)
    each(lambda n, _: bucket.upload(source, str(n), sha256=sum_, match=None), range(6), label="x", total=0, workers=6)
    assert len(keys(bucket)) == 6
    bucket.connection.parts.acquire()
    bucket.connection.parts.acquire()
    assert not bucket.connection.parts.acquire(blocking=False)
    bucket.connection.parts.release(2)


def test_listing_requests_the_next_page_only_when_needed(s3: Server, bucket: Bucket) -> None:
    for n in range(25):
        bucket.write(f"{n:02}", b"", match=None)
    s3.faults(page=10)
    listing = bucket.list()
    assert next(listing).key == "00"
    assert s3.counts()["requests"]["ListObjectsV2"] == 1
    assert len(list(listing)) == 24
    assert s3.counts()["requests"]["ListObjectsV2"] == 3


def test_invalid_keys_of_other_tools_are_skipped(s3: Server, bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    client = s3.client()
    for key in ("pre/fix/", "pre/fix/folder/", "pre/fix/a//b", "pre/fix/../up", "pre/fix/good", "pre/fixture"):
        client.put_object(Bucket=s3.name, Key=key, Body=b"" if key.endswith("/") else b"x")
    assert keys(bucket) == ["good"]
    assert "'a//b' is skipped" in caplog.text
    assert "folder" not in caplog.text


def test_copies_are_done_by_the_server(s3: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "COPY_WHOLE", 6 << 20)
    monkeypatch.setattr(upload, "COPY_PART", 6 << 20)
    data = LARGE[: 13 << 20]
    s3.client().put_object(Bucket=s3.name, Key="theirs", Body=data, Metadata={"sha256": sha256(data), "more": "kept"})
    there = Bucket(s3.name)
    assert bucket.copy(there, "theirs", "mine", match=ABSENT) == sha256(data)
    requests = s3.counts()["requests"]
    assert requests["UploadPartCopy"] == 3
    assert "GetObject" not in requests
    assert s3.client().head_object(Bucket=s3.name, Key="pre/fix/mine")["Metadata"]["more"] == "kept"


def test_copy_works_without_multipart_copy_of_the_server(
    rclone_s3: Server, file: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "COPY_WHOLE", 6 << 20)
    bucket = Bucket(rclone_s3.name)
    bucket.upload(file(LARGE), "a", sha256=sha256(LARGE), match=None)
    assert bucket.copy(bucket, "a", "b", match=None) == sha256(LARGE)
    assert bucket.sha256("b") == sha256(LARGE)


def test_equal_configurations_share_one_connection(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Bucket("one-bucket").with_prefix("deep"), Bucket("other-bucket", "x", kms_key="k")
    assert one.connection is other.connection
    assert one.client is other.client
    region = Bucket("one-bucket", server=dataclasses.replace(one.server, region="eu-west-1"))
    assert region.connection is not one.connection
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE")
    assert Bucket("one-bucket").connection is not one.connection
