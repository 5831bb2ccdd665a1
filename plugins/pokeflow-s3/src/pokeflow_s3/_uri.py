"""Opens ``s3://bucket/prefix``."""

import re

from pokeflow.objects import require_key, uri_error
from pokeflow_s3._bucket import Bucket
from pokeflow_s3._client import Server

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_bucket(
    uri: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    encryption: str | None = "AES256",
    kms_key: str | None = None,
    connections: int = 16,
    attempts: int | None = None,
    timeout: float = 60,
) -> Bucket:
    """Open a bucket, or what lies below a prefix of it; nothing is asked of the server yet.

    Args:
        uri: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint: another S3 server than AWS's.
        region: the bucket's, where AWS's own settings name none.
        encryption: asked of the server for every object; None is the server's own default.
        kms_key: the key that goes with ``aws:kms``.
        connections: at most so many requests at once.
        attempts: how often a request is made where AWS's settings say nothing.
        timeout: seconds that an answer may take.

    Raises:
        ConfigError: the URI names no bucket.

    """
    name, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    if not uri.startswith("s3://") or not _BUCKET.fullmatch(name) or ".." in name:
        raise uri_error(uri, f"{name!r} is no name of a bucket (3 to 63 of a-z, 0-9, '-', '.')")
    if prefix:
        require_key(prefix)
    server = Server(endpoint, region, connections, attempts, timeout)
    return Bucket(name, prefix, server=server, encryption=encryption, kms_key=kms_key)
