"""Object store in an S3 bucket. Every object stores its own SHA-256; an ETag is never used as a checksum."""

import base64
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pokeflow.objects import (
    ABSENT,
    Advance,
    Folder,
    NotFoundError,
    ObjectInfo,
    ObjectStore,
    PreconditionError,
    addressable,
    atomic_target,
    integrity_error,
    open_for_upload,
    require_key,
)
from pokeflow_s3 import _download as download
from pokeflow_s3 import _upload as upload
from pokeflow_s3._errors import ContentionError, UnsupportedError, UploadNotFoundError, ask, translate_errors
from pokeflow_s3._location import Location, etag_of


class Bucket(Location):
    """An object store in an S3 bucket, or below a prefix of it.

    Conditional writes rely on the server: AWS supports them since 2024, some other servers ignore the condition.
    """

    def __repr__(self) -> str:
        return f"Bucket({self.uri!r})"

    def connection_options(self) -> Mapping[str, Any]:
        """Return the server's endpoint and region and the number of connections, as options of ``open_bucket``."""
        server = self.server
        return {"endpoint": server.endpoint, "region": server.region, "connections": server.connections}

    def copies_on_server(self, source: ObjectStore) -> bool:
        """Return whether both stores share one connection, so that the server itself copies between them."""
        return isinstance(source, Bucket) and source.connection is self.connection

    def with_prefix(self, prefix: str) -> "Bucket":
        """Return the store of all keys below a prefix, with keys relative to it."""
        if not prefix:
            return self
        inside = self.prefix + require_key(prefix.rstrip("/"))
        return Bucket(self.bucket, inside, server=self.server, encryption=self.encryption, kms_key=self.kms_key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield all objects whose key begins with ``prefix``, sorted by key, requesting page after page."""
        folder = prefix.rpartition("/")[0]
        if folder:
            require_key(folder)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        with translate_errors(self.uri_of(prefix)):
            for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"][len(self.prefix) :]
                    # Skip the folder markers of other tools: empty objects whose key ends in a slash.
                    marker = item["Size"] == 0 and (key.endswith("/") or not key)
                    if not marker and addressable(key, self.uri):
                        yield ObjectInfo(key, item["Size"], etag_of(item), item["LastModified"].timestamp())

    def read(self, key: str) -> tuple[bytes, str]:
        """Return the bytes and the ETag of a small object; raise NotFoundError if it does not exist."""
        for last in (False,) * download.RESUMES + (True,):
            chunks: list[bytes] = []
            try:
                headers = download.stream(self, key, chunks.append)
                break
            except download.ObjectReplacedError:
                if last:
                    raise
        return b"".join(chunks), etag_of(headers)

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        """Write bytes under a key and return the new ETag."""
        return self._put(key, data, hashlib.sha256(data), match)

    def upload(self, source: Path, key: str, *, sha256: str, match: str | None, advance: Advance | None = None) -> None:
        """Upload a file under a key, in parts if it is large.

        Args:
            source: Local file of any size.
            key: Key of the object.
            sha256: Expected checksum of the file, hex.
            match: Condition of the write, as described for ``ObjectStore``.
            advance: Called with the number of bytes uploaded since the last call.

        Raises:
            IntegrityError: The checksum of the file is not ``sha256``.
            PreconditionError: The key holds another object than ``match`` requires.

        """
        target = self.request_args(key)
        with open_for_upload(source) as file:
            size = os.fstat(file.fileno()).st_size
            if size > upload.WHOLE:
                callbacks = iter((advance,))

                def send() -> str:
                    file.seek(0)
                    upload.upload(self, file, size, target, sha256, condition(match), next(callbacks, None))
                    return ""

                self._retry_conditional(send, key, size, sha256)
                return
            data = file.read(upload.WHOLE + 1)
        digest = hashlib.sha256(data)
        if digest.hexdigest() != sha256:
            raise integrity_error(str(source), sha256, digest.hexdigest())
        self._put(key, data, digest, match)
        if advance is not None:
            advance(len(data))

    def download(self, key: str, target: Path, *, sha256: str | None = None, advance: Advance | None = None) -> str:
        """Download an object to a file, which appears only when it is complete, and return its checksum.

        Args:
            key: Key of the object.
            target: The file.
            sha256: Expected checksum; None: the one that is stored with the object, if any.
            advance: Called with the number of bytes of each part.

        Raises:
            IntegrityError: If the checksum is not the expected one.
            NotFoundError: If the object does not exist.

        """
        with atomic_target(target) as draft:
            actual, recorded = download.download(self, key, draft, advance)
            expected = sha256 or recorded
            if expected not in (None, actual):
                raise integrity_error(self.uri_of(key), str(expected), actual)
        return actual

    def copy(
        self, source: ObjectStore, source_key: str, key: str, *, match: str | None, advance: Advance | None = None
    ) -> str:
        """Copy an object from another store and return the checksum of the copy.

        If both stores share one server, the server copies and no bytes pass through this machine; only if neither the
        server nor the source object states the checksum, the copy is read once to compute it.

        Args:
            source: Store of the object to copy.
            source_key: Key of the object to copy.
            key: Key of the copy.
            match: Condition of the write: None: always; ``ABSENT``: only if the key has no object; an ETag: only over
                that object.
            advance: Called with the number of copied bytes.

        Raises:
            PreconditionError: If the condition is not met.

        """
        if isinstance(source, Bucket) and self.copies_on_server(source):
            condition_args = condition(match)
            with suppress(UnsupportedError):
                return self._retry_conditional(
                    lambda: upload.copy(self, source, source_key, key, match, condition_args, advance), key, None, None
                )
        if isinstance(source, Folder):
            checksum = source.sha256(source_key)
            self.upload(source.path(source_key), key, sha256=checksum, match=match, advance=advance)
            return checksum
        half = (lambda n: advance(n / 2)) if advance is not None else None
        with tempfile.TemporaryDirectory(prefix="pokeflow-") as folder:
            draft = Path(folder) / "draft"
            checksum = source.download(source_key, draft, advance=half)
            self.upload(draft, key, sha256=checksum, match=match, advance=half)
        return checksum

    def sha256(self, key: str, *, advance: Advance | None = None) -> str:
        """Compute the checksum of an object by reading every byte; raise NotFoundError if it does not exist."""
        return download.sha256(self, key, advance)

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""
        ask(self.client.delete_object, self.uri_of(key), **self.request_args(key))

    def _put(self, key: str, data: bytes, digest: Any, match: str | None) -> str:
        parameters = {
            **self.request_args(key),
            **self.encryption_args,
            **condition(match),
            "ChecksumSHA256": base64.b64encode(digest.digest()).decode(),
            "Metadata": {"sha256": digest.hexdigest()},
        }
        name, put = self.uri_of(key), self.client.put_object
        return self._retry_conditional(
            lambda: etag_of(ask(put, name, Body=data, **parameters)), key, len(data), digest.hexdigest()
        )

    def _retry_conditional(self, write: Callable[[], str], key: str, size: int | None, sha256: str | None) -> str:
        """Run a conditional write, with retries; if its condition fails, check whether an earlier attempt succeeded."""
        for attempt in range(5):
            try:
                return write()
            except NotFoundError as error:
                # The object to replace has been deleted. For a copy, the missing object is the source.
                if size is None or sha256 is None or isinstance(error, UploadNotFoundError):
                    raise
                raise PreconditionError(f"{self.uri_of(key)}: has been deleted.") from None
            except PreconditionError as error:
                is_checkable = size is not None and sha256 is not None
                if is_checkable and (etag := download.etag_if_same(self, key, size, sha256)):  # type: ignore[arg-type]
                    return etag
                if not isinstance(error, ContentionError) or attempt == 4:
                    raise
                time.sleep(random.random() * 0.1 * 2**attempt)  # noqa: S311 - no secret is drawn
        raise AssertionError


def condition(match: str | None) -> dict[str, str]:
    """Return the request arguments for the condition ``match`` of a write."""
    if match is None:
        return {}
    return {"IfNoneMatch": "*"} if match == ABSENT else {"IfMatch": f'"{match}"'}
