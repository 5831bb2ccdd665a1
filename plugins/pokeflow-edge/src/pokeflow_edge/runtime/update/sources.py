"""Sources of releases: a folder (such as a USB stick), a web server, or a prefix of a bucket."""

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pokeflow.errors import PokeflowError

BLOCK = 1 << 20
TIMEOUT = 30.0
"""Timeout of a connection in seconds, without a byte received."""


class Source(Protocol):
    """A location of files with plain names; ``label`` is its name in error messages."""

    label: str

    def open(self, name: str, start: int) -> Any:
        """Return a context manager that opens the file for reading from byte ``start``."""

    def small(self, name: str, most: int) -> bytes:
        """Return the content of a file of at most ``most`` bytes."""


class BaseSource:
    """Base class of all sources: reads files through ``_open``, and turns their errors into a PokeflowError."""

    label: str

    def _open(self, name: str, start: int) -> BinaryIO:
        raise NotImplementedError

    @contextmanager
    def open(self, name: str, start: int) -> Iterator[BinaryIO]:
        """Open the file from byte ``start`` on; raise a PokeflowError if it is unavailable or the transfer breaks."""
        content = self._open(name, start)
        try:
            yield _ErrorTranslator(content, f"{self.label}/{name}")  # type: ignore[misc]  # it is only read
        finally:
            content.close()

    def small(self, name: str, most: int) -> bytes:
        """Return the content of a file; raise a PokeflowError if it has more than ``most`` bytes."""
        with self.open(name, 0) as content:
            data = b""
            while len(data) <= most and (block := content.read(most + 1 - len(data))):
                data += block
        if len(data) > most:
            raise PokeflowError(f"{self.label}/{name}: larger than the limit of {most:,} bytes.")
        return data


class Folder(BaseSource):
    """A folder of this machine."""

    def __init__(self, path: str) -> None:
        self.label = path.rstrip("/") or "/"

    def _open(self, name: str, start: int) -> BinaryIO:
        file = Path(self.label) / name
        try:
            # Reading a pipe or a device could block for ever.
            if not file.is_file():
                raise PokeflowError(f"{file}: no such file. Name the folder that 'pokeflow package' wrote.")
            content = file.open("rb")
            content.seek(start)
        except OSError as error:
            raise PokeflowError(f"{file}: cannot be read ({error.strerror}). Check its permissions.") from error
        return content


class Web(BaseSource):
    """A folder of a web server, which is not trusted: only signatures prove what it sends."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.username or parts.password:
            raise PokeflowError(
                "--from: contains a password, which would appear in logs. Put it into ~/.netrc or leave it out."
            )
        self._url = url.partition("?")[0].rstrip("/")
        self.label = self._url

    def _open(self, name: str, start: int) -> BinaryIO:
        url = f"{self._url}/{urllib.parse.quote(name)}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http and https only, see `source`
        try:
            response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - the same
        except urllib.error.HTTPError as error:
            error.close()
            raise PokeflowError(
                f"{url}: the server answered {error.code} {error.reason}. Check the address."
            ) from error
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise PokeflowError(f"{url}: cannot be reached ({reason}). Check the address and the network.") from error
        if start and response.status == 200:
            _skip(response, start)  # the server ignores Range
        return response  # type: ignore[no-any-return]  # urllib's answers are files


class Bucket(BaseSource):
    """A prefix of an S3 bucket, read with the device's own credentials.

    They need only this policy:

    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::BUCKET/PREFIX/*"}]}
    """

    def __init__(self, uri: str) -> None:
        self.label = uri.rstrip("/")
        self._bucket, _, self._prefix = self.label.removeprefix("s3://").partition("/")
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise PokeflowError(
                f"{self.label}: needs boto3 ({error}). Install it: apt install python3-boto3."
            ) from error
        config = Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"total_max_attempts": 5})
        self._client = boto3.client("s3", config=config)

    def _open(self, name: str, start: int) -> BinaryIO:
        from botocore.exceptions import BotoCoreError, ClientError

        key = f"{self._prefix}/{name}".lstrip("/")
        range_args = {"Range": f"bytes={start}-"} if start else {}
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, **range_args)["Body"]  # type: ignore[no-any-return]
        except (BotoCoreError, ClientError) as error:
            raise PokeflowError(
                f"{self.label}/{name}: cannot be read ({error}). Check credentials and network."
            ) from error


def source(location: str) -> Source:
    """Return the source for a folder, a http(s) or an s3 URL; raise a PokeflowError for any other scheme."""
    if re.match(r"https?://", location):
        return Web(location)
    if location.startswith("s3://"):
        return Bucket(location)
    if re.match(r"[a-z][a-z0-9+.-]*://", location):
        raise PokeflowError(
            f"--from: {location.partition('://')[0]}:// is not supported. Give a folder, http(s):// or s3://."
        )
    return Folder(location)


class _ErrorTranslator:
    """A file whose read errors are raised as a PokeflowError."""

    def __init__(self, content: Any, name: str) -> None:
        self._content, self._name = content, name

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._content.read(size))
        except Exception as error:  # each library has its own exceptions for a broken connection
            raise PokeflowError(
                f"{self._name}: transfer interrupted ({error}). Run the command again to resume."
            ) from error


def _skip(content: Any, start: int) -> None:
    while start and (block := content.read(min(start, BLOCK))):
        start -= len(block)
