"""How objects are read from a bucket: hashed on the way, large ones in parts, several at once."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow.objects import Advance, Conflict, naming, result
from pokeflow_s3._checksums import recorded
from pokeflow_s3._errors import ask, told
from pokeflow_s3._location import Location

log = logging.getLogger("pokeflow")
PART = 8 << 20
"""Bytes of a part."""
CHUNK = 1 << 20
RESUMES = 6
"""How often reading goes on after a connection was cut in the middle of an object."""


class Replaced(PokeflowError):  # noqa: N818 - an answer as much as an error
    """What was being read is another object by now; what has been read of the old one is of no use."""


def stream(bucket: Location, key: str, take: Callable[[bytes], None]) -> dict[str, Any]:
    """Read an object from beginning to end; returns the answer's headers. Missing."""
    place, name = bucket.place(key), bucket.named(key)
    found: dict[str, Any] = ask(bucket.client.get_object, name, **place)
    _pour(bucket, place, name, found, 0, found["ContentLength"], found["ETag"], take)
    return found


def download(bucket: Location, key: str, draft: Path, advance: Advance | None) -> tuple[str, str | None]:
    """Fetch into a file; returns the checksum of what arrived and the one that the object's own record tells."""
    place, name, client = bucket.place(key), bucket.named(key), bucket.client
    found = _first(client, place, name)
    first = found["ContentLength"]
    size = int(found["ContentRange"].rpartition("/")[2]) if "ContentRange" in found else first
    digest = hashlib.sha256()
    with naming(draft.parent), draft.open("wb") as out:

        def take(chunk: bytes) -> None:
            out.write(chunk)
            digest.update(chunk)
            if advance is not None:
                advance(len(chunk))

        _pour(bucket, place, name, found, 0, first, found["ETag"], take)
    if first < size:
        _rest(bucket, place, name, draft, digest, first, size, found["ETag"], advance)
    return digest.hexdigest(), recorded(found)


def _first(client: Any, place: dict[str, str], name: str) -> dict[str, Any]:
    """The answer with the first part of an object, which tells its size."""
    from botocore.exceptions import ClientError

    with told(name):
        try:
            return dict(client.get_object(**place, Range=f"bytes=0-{PART - 1}"))
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") != 416:
                raise
        return dict(client.get_object(**place))  # of an empty object there is no part


def _rest(
    bucket: Location,
    place: dict[str, str],
    name: str,
    draft: Path,
    digest: Any,
    first: int,
    size: int,
    etag: str,
    advance: Advance | None,
) -> None:
    def fetch(start: int, stop: int) -> None:
        # Each opens the file itself: who gives up need not wait for it.
        with naming(draft.parent), draft.open("r+b") as out:
            out.seek(start)
            _pour(bucket, place, name, None, start, stop, etag, out.write)

    ranges = [(start, min(start + PART, size)) for start in range(first, size, PART)]
    futures = [bucket.connection.crew.submit(fetch, *one) for one in ranges]
    try:
        with draft.open("rb") as written:
            written.seek(first)
            for future, (start, stop) in zip(futures, ranges, strict=True):
                result(future)
                for at in range(start, stop, CHUNK):
                    digest.update(written.read(min(CHUNK, stop - at)))
                if advance is not None:
                    advance(stop - start)
    finally:
        for future in futures:
            future.cancel()


def _pour(
    bucket: Location,
    place: dict[str, str],
    name: str,
    answer: dict[str, Any] | None,
    start: int,
    stop: int,
    etag: str,
    take: Callable[[bytes], object],
) -> None:
    """Read bytes ``start`` to ``stop`` of an object; where the connection is cut, go on from there."""
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    resumed = 0
    while True:
        try:
            if answer is None:
                asked = {"Range": f"bytes={start}-{stop - 1}", "IfMatch": etag}
                answer = ask(bucket.client.get_object, name, **place, **asked)
            body = answer["Body"]
            try:
                while start < stop and (chunk := body.read(CHUNK)):
                    start += len(chunk)
                    take(chunk)
            finally:
                body.close()
            if start >= stop:
                return
            raise HTTPError("the answer was too short")
        except (BotoCoreError, HTTPError) as error:
            resumed += 1
            if resumed > RESUMES:
                with told(name):
                    raise
            log.debug("%s: cut at byte %d (%s), going on from there", name, start, error)
            time.sleep(0.05 * 2**resumed)
            answer = None
        except Conflict as error:
            raise Replaced(f"{name}: was replaced while it was read. Run it again.") from error


def sha256(bucket: Location, key: str, advance: Advance | None = None) -> str:
    """The checksum of what lies under a key, by reading every byte; Missing."""
    digest = hashlib.sha256()

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        if advance is not None:
            advance(len(chunk))

    stream(bucket, key, take)
    return digest.hexdigest()


def etag_if_same(bucket: Location, key: str, size: int, checksum: str) -> str | None:
    """The etag of what lies under a key, if it is these very bytes."""
    found = bucket.stat(key)
    if found is None or found.size != size:
        return None
    return found.etag if (found.sha256 or sha256(bucket, key)) == checksum else None
