"""Where a URI leads: a folder or a bucket."""

import importlib.util
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pokeflow.errors import ConfigError, Fault
from pokeflow.objects._base import Objects, require_key
from pokeflow.objects._folder import Folder
from pokeflow.types import Shared

KNOWN = "s3://bucket, s3://bucket/prefix, file:///folder, or the path of a folder"
_SCHEME = re.compile(r"(file|s3)(?=:)|([A-Za-z][A-Za-z0-9+.-]*)(?=:/)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_uri(
    uri: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    encryption: str | None = "AES256",
    kms_key: str | None = None,
    connections: int = 16,
    attempts: int | None = None,
    timeout: float = 60,
) -> Objects:
    """The objects at a URI; nothing is asked of it yet. The options are a bucket's. ConfigError for any other URI."""
    scheme = _SCHEME.match(uri)
    if scheme is None:
        if not uri.strip() or "\x00" in uri:
            raise _fault(uri, "is no place")
        return Folder(Path(uri).expanduser())
    if scheme[0] == "file":
        return Folder(_file(uri))
    if scheme[0] != "s3":
        raise _fault(uri, f"nothing here speaks {scheme[0]!r}")
    name, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    if not uri.startswith("s3://") or not _BUCKET.fullmatch(name) or ".." in name:
        raise _fault(uri, f"{name!r} is no name of a bucket (3 to 63 of a-z, 0-9, '-', '.')")
    if prefix:
        require_key(prefix)
    if importlib.util.find_spec("botocore") is None:
        raise _fault(uri, "S3 needs boto3, which is not installed: pip install 'pokeflow[s3]'")
    from pokeflow.objects.s3._bucket import Bucket
    from pokeflow.objects.s3._client import Server

    server = Server(endpoint, region, connections, attempts, timeout)
    return Bucket(name, prefix, server=server, encryption=encryption, kms_key=kms_key)


def open_shared(where: Shared, *, connections: int = 16) -> Objects:
    """The bucket that a flow or a task names, as its store speaks to it."""
    return open_uri(
        where.uri,
        endpoint=where.endpoint,
        region=where.region,
        encryption=where.encryption,
        kms_key=where.kms_key,
        connections=connections,
    )


def open_related(objects: Objects, uri: str, *, endpoint: str | None = None, region: str | None = None) -> Objects:
    """The objects at a URI that was found in these: a bucket is looked for on the same server, if nothing else is said.

    Then both are on one connection, and the server copies between them.
    """
    if not uri.startswith("s3://") or not objects.uri.startswith("s3://"):
        return open_uri(uri, endpoint=endpoint, region=region)
    from pokeflow.objects.s3._bucket import Bucket

    own = objects.server if isinstance(objects, Bucket) else None
    if own is None:
        return open_uri(uri, endpoint=endpoint, region=region)
    endpoint, region = endpoint or own.endpoint, region or own.region
    return open_uri(uri, endpoint=endpoint, region=region, connections=own.connections)


def _file(uri: str) -> Path:
    parts = urlsplit(uri)
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not os.path.isabs(path):  # noqa: PTH117
        raise _fault(uri, "a folder of this machine is meant: file:///folder")
    return Path(path)


def _fault(uri: str, what: str) -> ConfigError:
    return ConfigError([Fault(repr(uri), f"{what}. Known: {KNOWN}.")])
