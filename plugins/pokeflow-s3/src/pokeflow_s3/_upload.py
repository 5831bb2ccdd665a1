"""How large objects come into a bucket: in parts, several at once, each checked by the server."""

import base64
import hashlib
import logging
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from pokeflow.errors import PokeflowError
from pokeflow.objects import ABSENT, Advance, Conflict, Missing, breathe, damaged, result
from pokeflow_s3._checksums import recorded
from pokeflow_s3._download import etag_if_same
from pokeflow_s3._download import sha256 as sha256_of
from pokeflow_s3._errors import Lacking, Unknown, ask
from pokeflow_s3._location import Location

log = logging.getLogger("pokeflow")
MIB = 1 << 20
WHOLE = 8 * MIB
"""Bytes up to which a file travels in one request."""
PART = 8 * MIB
COPY_WHOLE = 64 * MIB
"""Bytes up to which the server is asked to copy in one request, which must end before it times out."""
COPY_PART = 64 * MIB
PARTS = 9_000
"""Parts of one upload; S3 takes 10,000."""


def upload(
    bucket: Location,
    file: BinaryIO,
    size: int,
    place: dict[str, str],
    sha256: str,
    condition: dict[str, str],
    advance: Advance | None,
) -> None:
    """Send a file in parts. The server checks each part, and the whole is checked before it becomes an object."""
    name, client = f"s3://{place['Bucket']}/{place['Key']}", bucket.client
    more = {**bucket.sealed, "Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "CRC32"}
    with _upload(bucket, place, more) as (begun, futures):

        def send(number: int, data: bytes) -> dict[str, Any]:
            # For the way alone, in a third of the time: the SHA-256 of the whole is compared below.
            checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
            answer = ask(client.upload_part, name, **begun, PartNumber=number, Body=data, ChecksumCRC32=checksum)
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": checksum}

        parts: list[dict[str, Any]] = []
        sizes: deque[int] = deque()
        digest, connection = hashlib.sha256(), bucket.connection

        def settle() -> None:
            parts.append(result(futures[len(parts)]))
            if advance is not None:
                advance(sizes[len(parts) - 1])

        step = _part_size(size, PART)
        for number, start in enumerate(range(0, size, step), 1):
            while not connection.parts.acquire(timeout=0.5):
                breathe()
            try:
                data = file.read(min(step, size - start))
                future = connection.crew.submit(send, number, data)
            except BaseException:
                connection.parts.release()
                raise
            future.add_done_callback(lambda _: connection.parts.release())
            futures.append(future)
            sizes.append(len(data))
            digest.update(data)
            del data
            while len(parts) < len(futures) and futures[len(parts)].done():
                settle()
        while len(parts) < len(futures):
            settle()
        if digest.hexdigest() != sha256:
            raise damaged(str(getattr(file, "name", name)), sha256, digest.hexdigest())
        complete(bucket, begun, parts, {**condition, "MpuObjectSize": size})


def complete(bucket: Location, begun: dict[str, str], parts: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """Make an object of its parts."""
    name = f"s3://{begun['Bucket']}/{begun['Key']}"
    try:
        ask(bucket.client.complete_multipart_upload, name, **begun, MultipartUpload={"Parts": parts}, **more)
    except Unknown as error:
        # As a failed condition, so that the writer looks whether an attempt whose answer was lost has done it.
        raise Conflict(str(error)) from error


def copy(
    bucket: Location,
    source: Location,
    source_key: str,
    key: str,
    match: str | None,
    condition: dict[str, str],
    advance: Advance | None,
) -> str:
    """Have the server copy; returns the checksum of what arrived.

    The condition is looked at before, and sent too: an older server that does not know it for copies may let a
    writer through that comes in between.
    """
    client, name = bucket.client, bucket.named(key)
    found = ask(client.head_object, source.named(source_key), **source.place(source_key), ChecksumMode="ENABLED")
    size, etag, noted = found["ContentLength"], found["ETag"], recorded(found)
    origin = {"CopySource": source.place(source_key), "CopySourceIfMatch": etag}
    arrived: str | None = None
    try:
        _require(bucket, key, match)
        if size <= COPY_WHOLE:
            asked = {**bucket.place(key), **bucket.sealed, **origin, **condition, "ChecksumAlgorithm": "SHA256"}
            arrived = recorded(ask(client.copy_object, name, **asked).get("CopyObjectResult", {}))
        else:
            _copy_parts(bucket, bucket.place(key), found, origin, condition)
    except Conflict:
        now = source.stat(source_key)
        if now is None or now.etag != etag.strip('"'):
            raise PokeflowError(
                f"{source.named(source_key)}: was replaced while it was copied. Run it again."
            ) from None
        noted = noted or sha256_of(source, source_key)
        if etag_if_same(bucket, key, size, noted) is None:
            raise
    if advance is not None:
        advance(size)
    if arrived is None:
        there = bucket.stat(key)
        if there is None:
            raise Missing(f"{name}: was removed while it was copied.")
        arrived = noted if noted and (there.size, there.sha256) == (size, noted) else sha256_of(bucket, key)
    if noted not in (None, arrived):
        raise damaged(name, str(noted), arrived)
    return arrived


def _require(bucket: Location, key: str, match: str | None) -> None:
    if match is None:
        return
    there = bucket.stat(key)
    if (there.etag if there else ABSENT) != match:
        raise Conflict(f"{bucket.named(key)}: something else lies there than was expected: another writer was first.")


_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")


def _copy_parts(
    bucket: Location, place: dict[str, str], found: dict[str, Any], origin: dict[str, Any], condition: dict[str, str]
) -> None:
    size, name, client = found["ContentLength"], f"s3://{place['Bucket']}/{place['Key']}", bucket.client
    more = {**bucket.sealed, **{kept: found[kept] for kept in _KEPT if kept in found}}
    with _upload(bucket, place, more) as (begun, futures):

        def send(number: int, start: int, stop: int) -> dict[str, Any]:
            asked = {**begun, **origin, "PartNumber": number, "CopySourceRange": f"bytes={start}-{stop - 1}"}
            answer = ask(client.upload_part_copy, name, **asked).get("CopyPartResult", {})
            if "ETag" not in answer:
                raise Lacking(f"{name}: the server does not copy parts.")
            return {"PartNumber": number, "ETag": answer["ETag"]}

        step = _part_size(size, COPY_PART)
        for number, start in enumerate(range(0, size, step), 1):
            futures.append(bucket.connection.crew.submit(send, number, start, min(start + step, size)))
        complete(bucket, begun, [result(future) for future in futures], condition)


@contextmanager
def _upload(
    bucket: Location, place: dict[str, str], more: dict[str, Any]
) -> Iterator[tuple[dict[str, str], list[Future[Any]]]]:
    """An upload in parts, which is given up if anything goes wrong: parts that are left behind cost money."""
    name, client = f"s3://{place['Bucket']}/{place['Key']}", bucket.client
    created = ask(client.create_multipart_upload, name, **place, **more)
    begun, futures = {**place, "UploadId": created["UploadId"]}, list[Future[Any]]()
    try:
        yield begun, futures
    except BaseException:
        for future in futures:
            future.cancel()
        # A part that arrives after the end would stay.
        wait(futures, timeout=1)
        with suppress(Missing):
            try:
                ask(client.abort_multipart_upload, name, **begun)
            except PokeflowError as error:
                log.warning("an upload in parts could not be given up: %s", error)
        raise


def _part_size(size: int, least: int) -> int:
    """Bytes of a part: whole MiB, at least ``least``, and no more parts than S3 takes."""
    needed = -(-size // PARTS)
    return max(least, -(-needed // MIB) * MIB)
