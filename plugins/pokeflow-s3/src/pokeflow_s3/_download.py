"""Downloads from a bucket: hashed while they are read, large objects in several parts at once."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import Advance, PreconditionError, name_file_in_errors, wait_for_result
from pokeflow_s3._checksums import recorded_checksum
from pokeflow_s3._errors import ask, translate_errors
from pokeflow_s3._location import Location

log = logging.getLogger("pokeflow")
PART = 8 << 20
"""Size of a part in bytes."""
CHUNK = 1 << 20
RESUMES = 6
"""Maximum number of times that a read is resumed after the connection was cut in the middle of an object."""


class ObjectReplacedError(PokeflowError):
    """Error for an object that was replaced while it was read, so that the bytes read so far are useless."""


def stream(bucket: Location, key: str, take: Callable[[bytes], None]) -> dict[str, Any]:
    """Read an object from beginning to end and return the response's headers.

    Args:
        bucket: Location of the object.
        key: Key of the object.
        take: Called with each chunk of bytes.

    Raises:
        NotFoundError: The object does not exist.

    """
    target, name = bucket.request_args(key), bucket.uri_of(key)
    response: dict[str, Any] = ask(bucket.client.get_object, name, **target)
    _stream_range(bucket, target, name, response, 0, response["ContentLength"], response["ETag"], take)
    return response


def download(bucket: Location, key: str, draft: Path, advance: Advance | None) -> tuple[str, str | None]:
    """Download an object to a file; return the checksum of the file and the one stored with the object, if any.

    Args:
        bucket: The bucket.
        key: Key of the object.
        draft: The file.
        advance: Called with the number of bytes of each part.

    """
    target, name, client = bucket.request_args(key), bucket.uri_of(key), bucket.client
    response = _request_first_part(client, target, name)
    first = response["ContentLength"]
    size = int(response["ContentRange"].rpartition("/")[2]) if "ContentRange" in response else first
    digest = hashlib.sha256()
    with name_file_in_errors(draft.parent), draft.open("wb") as out:

        def take(chunk: bytes) -> None:
            out.write(chunk)
            digest.update(chunk)
            if advance is not None:
                advance(len(chunk))

        _stream_range(bucket, target, name, response, 0, first, response["ETag"], take)
    if first < size:
        _fetch_remaining_parts(bucket, target, name, draft, digest, first, size, response["ETag"], advance)
    return digest.hexdigest(), recorded_checksum(response)


def _request_first_part(client: Any, target: dict[str, str], name: str) -> dict[str, Any]:
    """Return the response with the first part of an object, which also states the size of the whole."""
    from botocore.exceptions import ClientError

    with translate_errors(name):
        try:
            return dict(client.get_object(**target, Range=f"bytes=0-{PART - 1}"))
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") != 416:
                raise
        return dict(client.get_object(**target))  # an empty object has no byte range


def _fetch_remaining_parts(
    bucket: Location,
    target: dict[str, str],
    name: str,
    draft: Path,
    digest: Any,
    first: int,
    size: int,
    etag: str,
    advance: Advance | None,
) -> None:
    def fetch(start: int, stop: int) -> None:
        # Each thread opens the file itself, so that a cancelled download need not wait for the threads.
        with name_file_in_errors(draft.parent), draft.open("r+b") as out:
            out.seek(start)
            _stream_range(bucket, target, name, None, start, stop, etag, out.write)

    ranges = [(start, min(start + PART, size)) for start in range(first, size, PART)]
    futures = [bucket.connection.pool.submit(fetch, *bounds) for bounds in ranges]
    try:
        with draft.open("rb") as draft_file:
            draft_file.seek(first)
            for future, (start, stop) in zip(futures, ranges, strict=True):
                wait_for_result(future)
                for position in range(start, stop, CHUNK):
                    digest.update(draft_file.read(min(CHUNK, stop - position)))
                if advance is not None:
                    advance(stop - start)
    finally:
        for future in futures:
            future.cancel()


def _stream_range(
    bucket: Location,
    target: dict[str, str],
    name: str,
    response: dict[str, Any] | None,
    start: int,
    stop: int,
    etag: str,
    take: Callable[[bytes], object],
) -> None:
    """Read bytes ``start`` to ``stop`` (exclusive) of an object; resume after the last byte if the connection is cut.

    Args:
        bucket: Location of the object.
        target: Bucket and key, as request arguments.
        name: URI of the object, for messages.
        response: Response whose body begins at ``start``, or None to request one.
        start: First byte.
        stop: Byte after the last one.
        etag: ETag that the object must still have when reading is resumed.
        take: Called with each chunk of bytes.

    Raises:
        ObjectReplacedError: The object was replaced while it was read.

    """
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    attempts = 0
    while True:
        try:
            if response is None:
                range_args = {"Range": f"bytes={start}-{stop - 1}", "IfMatch": etag}
                response = ask(bucket.client.get_object, name, **target, **range_args)
            body = response["Body"]
            try:
                while start < stop and (chunk := body.read(CHUNK)):
                    start += len(chunk)
                    take(chunk)
            finally:
                body.close()
            if start >= stop:
                return
            raise HTTPError("the response was too short")
        except (BotoCoreError, HTTPError) as error:
            attempts += 1
            if attempts > RESUMES:
                with translate_errors(name):
                    raise
            log.debug("%s: the connection was cut at byte %d (%s); resuming there", name, start, error)
            time.sleep(0.05 * 2**attempts)
            response = None
        except PreconditionError as error:
            raise ObjectReplacedError(f"{name}: was replaced while it was read. Run the same command again.") from error


def sha256(bucket: Location, key: str, advance: Advance | None = None) -> str:
    """Compute the checksum of an object by reading every byte; raise NotFoundError if it does not exist."""
    digest = hashlib.sha256()

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        if advance is not None:
            advance(len(chunk))

    stream(bucket, key, take)
    return digest.hexdigest()


def etag_if_same(bucket: Location, key: str, size: int, checksum: str) -> str | None:
    """Return the ETag of an object if it has this size and checksum, else None.

    Args:
        bucket: The bucket.
        key: Key of the object.
        size: Expected size in bytes.
        checksum: Expected SHA-256.

    """
    info = bucket.stat(key)
    if info is None or info.size != size:
        return None
    return info.etag if (info.sha256 or sha256(bucket, key)) == checksum else None
