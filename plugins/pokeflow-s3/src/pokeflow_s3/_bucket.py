"""Objects in an S3 bucket, below a prefix. Every object carries its SHA-256; an ETag is never taken for a checksum."""

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
    Conflict,
    Entry,
    Folder,
    Missing,
    Objects,
    addressable,
    beside,
    damaged,
    readable,
    require_key,
)
from pokeflow_s3 import _download as download
from pokeflow_s3 import _upload as upload
from pokeflow_s3._errors import Contended, Lacking, Unknown, ask, told
from pokeflow_s3._location import Location, etag_of


class Bucket(Location):
    """A bucket, or what lies below a prefix of it.

    Conditions of writes are kept by the server: AWS does since 2024, some others take no notice of them.
    """

    def __repr__(self) -> str:
        return f"Bucket({self.uri!r})"

    def connection_options(self) -> Mapping[str, Any]:
        """The server and the number of its connections, as ``open_bucket`` takes them."""
        server = self.server
        return {"endpoint": server.endpoint, "region": server.region, "connections": server.connections}

    def copies_on_server(self, source: Objects) -> bool:
        """Whether both are on one connection, so that the server copies."""
        return isinstance(source, Bucket) and source.connection is self.connection

    def at(self, prefix: str) -> "Bucket":
        """The same, seen from deeper inside."""
        if not prefix:
            return self
        inside = self.prefix + require_key(prefix.rstrip("/"))
        return Bucket(self.bucket, inside, server=self.server, encryption=self.encryption, kms_key=self.kms_key)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Everything whose key begins with ``prefix``, sorted by key, page by page."""
        folder = prefix.rpartition("/")[0]
        if folder:
            require_key(folder)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        with told(self.named(prefix)):
            for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"][len(self.prefix) :]
                    # What other tools leave to show a folder: nothing under a key that ends in a slash.
                    marker = found["Size"] == 0 and (key.endswith("/") or not key)
                    if not marker and addressable(key, self.uri):
                        yield Entry(key, found["Size"], etag_of(found), found["LastModified"].timestamp())

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes of a small object, and its etag; Missing."""
        for last in (False,) * download.RESUMES + (True,):
            chunks: list[bytes] = []
            try:
                found = download.stream(self, key, chunks.append)
                break
            except download.Replaced:
                if last:
                    raise
        return b"".join(chunks), etag_of(found)

    def write(self, key: str, data: bytes, *, match: str | None) -> str:
        """Put bytes under a key; returns the new etag."""
        return self._put(key, data, hashlib.sha256(data), match)

    def upload(self, source: Path, key: str, *, sha256: str, match: str | None, advance: Advance | None = None) -> None:
        """Put a file of any size under a key, in parts where it is large; Damaged if its bytes are not ``sha256``."""
        place = self.place(key)
        with readable(source) as file:
            size = os.fstat(file.fileno()).st_size
            if size > upload.WHOLE:
                told_once = iter((advance,))

                def send() -> str:
                    file.seek(0)
                    upload.upload(self, file, size, place, sha256, condition(match), next(told_once, None))
                    return ""

                self._insist(send, key, size, sha256)
                return
            data = file.read(upload.WHOLE + 1)
        digest = hashlib.sha256(data)
        if digest.hexdigest() != sha256:
            raise damaged(str(source), sha256, digest.hexdigest())
        self._put(key, data, digest, match)
        if advance is not None:
            advance(len(data))

    def download(self, key: str, target: Path, *, sha256: str | None = None, advance: Advance | None = None) -> str:
        """Fetch into a file that appears whole or not at all; returns its checksum, Damaged if it is not ``sha256``.

        Without ``sha256`` it is compared with what the object itself says, where it does.
        """
        with beside(target) as draft:
            arrived, recorded = download.download(self, key, draft, advance)
            wanted = sha256 or recorded
            if wanted not in (None, arrived):
                raise damaged(self.named(key), str(wanted), arrived)
        return arrived

    def copy(
        self, source: Objects, source_key: str, key: str, *, match: str | None, advance: Advance | None = None
    ) -> str:
        """Copy from another place; returns the checksum of what arrived.

        Where both are on one server, no byte passes through this machine, unless neither the server nor the
        source's own record tells the checksum: then what arrived is read once.
        """
        if isinstance(source, Bucket) and self.copies_on_server(source):
            asked = condition(match)
            with suppress(Lacking):
                return self._insist(
                    lambda: upload.copy(self, source, source_key, key, match, asked, advance), key, None, None
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
        """The checksum of what lies under a key, by reading every byte; Missing."""
        return download.sha256(self, key, advance)

    def delete(self, key: str) -> None:
        """Remove what lies under a key, if anything does."""
        ask(self.client.delete_object, self.named(key), **self.place(key))

    def _put(self, key: str, data: bytes, digest: Any, match: str | None) -> str:
        parameters = {
            **self.place(key),
            **self.sealed,
            **condition(match),
            "ChecksumSHA256": base64.b64encode(digest.digest()).decode(),
            "Metadata": {"sha256": digest.hexdigest()},
        }
        name, put = self.named(key), self.client.put_object
        return self._insist(
            lambda: etag_of(ask(put, name, Body=data, **parameters)), key, len(data), digest.hexdigest()
        )

    def _insist(self, write: Callable[[], str], key: str, size: int | None, sha256: str | None) -> str:
        """Do a conditional write; where its condition fails, it may be that an earlier attempt of it was applied."""
        for attempt in range(5):
            try:
                return write()
            except Missing as error:
                # The condition was to replace what is gone now. Of a copy it is the source that is gone.
                if size is None or sha256 is None or isinstance(error, Unknown):
                    raise
                raise Conflict(f"{self.named(key)}: is gone.") from None
            except Conflict as error:
                known = size is not None and sha256 is not None
                if known and (etag := download.etag_if_same(self, key, size, sha256)):  # type: ignore[arg-type]
                    return etag
                if not isinstance(error, Contended) or attempt == 4:
                    raise
                time.sleep(random.random() * 0.1 * 2**attempt)  # noqa: S311 - no secret is drawn
        raise AssertionError


def condition(match: str | None) -> dict[str, str]:
    """What a write is told of its condition."""
    if match is None:
        return {}
    return {"IfNoneMatch": "*"} if match == ABSENT else {"IfMatch": f'"{match}"'}
