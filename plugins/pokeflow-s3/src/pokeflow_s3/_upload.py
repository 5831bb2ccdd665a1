"""Uploads and copies of large objects: several parts at once, each checked by the server."""

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
from pokeflow.objects import (
    ABSENT,
    Advance,
    NotFoundError,
    PreconditionError,
    integrity_error,
    raise_if_cancelled,
    wait_for_result,
)
from pokeflow_s3._checksums import recorded_checksum
from pokeflow_s3._download import etag_if_same
from pokeflow_s3._download import sha256 as sha256_of
from pokeflow_s3._errors import UnsupportedError, UploadNotFoundError, ask
from pokeflow_s3._location import Location

log = logging.getLogger("pokeflow")
MIB = 1 << 20
WHOLE = 8 * MIB
"""Maximum size in bytes of a file that is uploaded in one request."""
PART = 8 * MIB
COPY_WHOLE = 64 * MIB
"""Maximum size in bytes of an object that is copied in one request, which must end before it times out."""
COPY_PART = 64 * MIB
PARTS = 9_000
"""Maximum number of parts of one upload; S3 allows 10,000."""


def upload(
    bucket: Location,
    file: BinaryIO,
    size: int,
    target: dict[str, str],
    sha256: str,
    condition: dict[str, str],
    advance: Advance | None,
) -> None:
    """Upload a file in parts. The server checks each part; the whole is checked before it becomes an object.

    Args:
        bucket: Location of the object.
        file: Open file, positioned at its beginning.
        size: Size of the file in bytes.
        target: Bucket and key, as request arguments.
        sha256: Expected checksum of the file, hex.
        condition: Request arguments for the condition of the write.
        advance: Called with the size of each finished part.

    Raises:
        IntegrityError: The checksum of the file is not ``sha256``.
        PreconditionError: The condition of the write is not met.

    """
    name, client = f"s3://{target['Bucket']}/{target['Key']}", bucket.client
    options = {**bucket.encryption_args, "Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "CRC32"}
    with _upload(bucket, target, options) as (upload_args, futures):

        def send(number: int, data: bytes) -> dict[str, Any]:
            # CRC32 protects the transfer and takes a third of the time; the SHA-256 of the whole is compared below.
            checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
            response = ask(
                client.upload_part, name, **upload_args, PartNumber=number, Body=data, ChecksumCRC32=checksum
            )
            return {"PartNumber": number, "ETag": response["ETag"], "ChecksumCRC32": checksum}

        parts: list[dict[str, Any]] = []
        sizes: deque[int] = deque()
        digest, connection = hashlib.sha256(), bucket.connection

        def settle() -> None:
            parts.append(wait_for_result(futures[len(parts)]))
            if advance is not None:
                advance(sizes[len(parts) - 1])

        step = _part_size(size, PART)
        for number, start in enumerate(range(0, size, step), 1):
            while not connection.parts.acquire(timeout=0.5):
                raise_if_cancelled()
            try:
                data = file.read(min(step, size - start))
                future = connection.pool.submit(send, number, data)
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
            raise integrity_error(str(getattr(file, "name", name)), sha256, digest.hexdigest())
        complete(bucket, upload_args, parts, {**condition, "MpuObjectSize": size})


def complete(
    bucket: Location, upload_args: dict[str, str], parts: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    """Complete a multipart upload.

    Args:
        bucket: The bucket.
        upload_args: Bucket, key and id of the upload, as arguments of a request.
        parts: Numbers and ETags of the parts.
        options: Further arguments of the request, such as its condition.

    Raises:
        PreconditionError: If the upload is unknown or its condition is not met.

    """
    name = f"s3://{upload_args['Bucket']}/{upload_args['Key']}"
    try:
        ask(bucket.client.complete_multipart_upload, name, **upload_args, MultipartUpload={"Parts": parts}, **options)
    except UploadNotFoundError as error:
        # Report it as a failed condition: the writer then checks whether an attempt succeeded whose response was lost.
        raise PreconditionError(str(error)) from error


def copy(
    bucket: Location,
    source: Location,
    source_key: str,
    key: str,
    match: str | None,
    condition: dict[str, str],
    advance: Advance | None,
) -> str:
    """Copy an object on the server and return the checksum of the copy.

    The condition is checked before the copy and sent with it: a server that ignores conditions of copies may still
    overwrite an object that another writer creates in between.

    Args:
        bucket: Location of the copy.
        source: Location of the object to copy, on the same server.
        source_key: Key of the object to copy.
        key: Key of the copy.
        match: Condition of the write, as described for ``ObjectStore``.
        condition: The same condition as request arguments.
        advance: Called once with the size in bytes.

    Raises:
        IntegrityError: The checksum of the copy is not that of the source.
        UnsupportedError: The server does not copy parts.
        NotFoundError: The source does not exist, or the copy was deleted meanwhile.
        PreconditionError: The key holds another object than ``match`` requires.

    """
    client, name = bucket.client, bucket.uri_of(key)
    response = ask(
        client.head_object, source.uri_of(source_key), **source.request_args(source_key), ChecksumMode="ENABLED"
    )
    size, etag, source_sha256 = response["ContentLength"], response["ETag"], recorded_checksum(response)
    origin = {"CopySource": source.request_args(source_key), "CopySourceIfMatch": etag}
    copy_sha256: str | None = None
    try:
        _require(bucket, key, match)
        if size <= COPY_WHOLE:
            request = {
                **bucket.request_args(key),
                **bucket.encryption_args,
                **origin,
                **condition,
                "ChecksumAlgorithm": "SHA256",
            }
            copy_sha256 = recorded_checksum(ask(client.copy_object, name, **request).get("CopyObjectResult", {}))
        else:
            _copy_parts(bucket, bucket.request_args(key), response, origin, condition)
    except PreconditionError:
        now = source.stat(source_key)
        if now is None or now.etag != etag.strip('"'):
            raise PokeflowError(
                f"{source.uri_of(source_key)}: was replaced while it was copied. Run the same command again."
            ) from None
        source_sha256 = source_sha256 or sha256_of(source, source_key)
        if etag_if_same(bucket, key, size, source_sha256) is None:
            raise
    if advance is not None:
        advance(size)
    if copy_sha256 is None:
        existing = bucket.stat(key)
        if existing is None:
            raise NotFoundError(f"{name}: was deleted while it was copied. Run the same command again.")
        copy_sha256 = (
            source_sha256
            if source_sha256 and (existing.size, existing.sha256) == (size, source_sha256)
            else sha256_of(bucket, key)
        )
    if source_sha256 not in (None, copy_sha256):
        raise integrity_error(name, str(source_sha256), copy_sha256)
    return copy_sha256


def _require(bucket: Location, key: str, match: str | None) -> None:
    if match is None:
        return
    existing = bucket.stat(key)
    if (existing.etag if existing else ABSENT) != match:
        raise PreconditionError(
            f"{bucket.uri_of(key)}: the object is not in the expected state, because another writer was first."
        )


_COPIED_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
)


def _copy_parts(
    bucket: Location,
    target: dict[str, str],
    source_headers: dict[str, Any],
    origin: dict[str, Any],
    condition: dict[str, str],
) -> None:
    size, name, client = source_headers["ContentLength"], f"s3://{target['Bucket']}/{target['Key']}", bucket.client
    options = {
        **bucket.encryption_args,
        **{header: source_headers[header] for header in _COPIED_HEADERS if header in source_headers},
    }
    with _upload(bucket, target, options) as (upload_args, futures):

        def send(number: int, start: int, stop: int) -> dict[str, Any]:
            request = {**upload_args, **origin, "PartNumber": number, "CopySourceRange": f"bytes={start}-{stop - 1}"}
            response = ask(client.upload_part_copy, name, **request).get("CopyPartResult", {})
            if "ETag" not in response:
                raise UnsupportedError(f"{name}: the server does not copy parts.")
            return {"PartNumber": number, "ETag": response["ETag"]}

        step = _part_size(size, COPY_PART)
        for number, start in enumerate(range(0, size, step), 1):
            futures.append(bucket.connection.pool.submit(send, number, start, min(start + step, size)))
        complete(bucket, upload_args, [wait_for_result(future) for future in futures], condition)


@contextmanager
def _upload(
    bucket: Location, target: dict[str, str], options: dict[str, Any]
) -> Iterator[tuple[dict[str, str], list[Future[Any]]]]:
    """Begin a multipart upload, and abort it if anything fails, because abandoned parts cost money.

    Yields:
        The request arguments that identify the upload, and the list to which the caller adds the futures of its parts.

    """
    name, client = f"s3://{target['Bucket']}/{target['Key']}", bucket.client
    created = ask(client.create_multipart_upload, name, **target, **options)
    upload_args, futures = {**target, "UploadId": created["UploadId"]}, list[Future[Any]]()
    try:
        yield upload_args, futures
    except BaseException:
        for future in futures:
            future.cancel()
        # Wait for running parts: one that arrives after the abort would remain.
        wait(futures, timeout=1)
        with suppress(NotFoundError):
            try:
                ask(client.abort_multipart_upload, name, **upload_args)
            except PokeflowError as error:
                log.warning("a multipart upload could not be aborted: %s", error)
        raise


def _part_size(size: int, least: int) -> int:
    """Return the size of a part in bytes: whole MiB, at least ``least``, and at most ``PARTS`` parts in total."""
    needed = -(-size // PARTS)
    return max(least, -(-needed // MIB) * MIB)
