"""Entry point that opens the URIs ``s3://bucket/prefix``."""

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
    """Open an object store in a bucket, or below a prefix of it; no request is sent to the server yet.

    Args:
        uri: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint: URL of an S3 server other than AWS.
        region: Region of the bucket; None takes it from AWS's own settings.
        encryption: Encryption requested for every new object; None is the server's default.
        kms_key: Key for the encryption ``aws:kms``.
        connections: Maximum number of simultaneous requests.
        attempts: Maximum number of attempts for a request, if AWS's settings define none.
        timeout: Maximum number of seconds to wait for a response.

    Raises:
        ConfigError: The URI names no valid bucket.

    """
    name, _, prefix = uri.removeprefix("s3://").rstrip("/").partition("/")
    if not uri.startswith("s3://") or not _BUCKET.fullmatch(name) or ".." in name:
        raise uri_error(uri, f"{name!r} is not a valid bucket name (3 to 63 characters: a-z, 0-9, '-', '.')")
    if prefix:
        require_key(prefix)
    server = Server(endpoint, region, connections, attempts, timeout)
    return Bucket(name, prefix, server=server, encryption=encryption, kms_key=kms_key)
