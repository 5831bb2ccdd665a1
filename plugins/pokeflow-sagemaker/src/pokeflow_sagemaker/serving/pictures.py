"""Listing of the objects below a prefix: the input images of a batch transform job, and its output."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pokeflow import ConfigError, Fault
from pokeflow_sagemaker import aws

SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_LISTED, PAGE_SIZE = 5, 1000
"""Number of names in a fault's message, and of objects per page of a listing."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """An S3 object: its key, size in bytes, and ETag."""

    key: str
    size: int
    etag: str


def list_objects(region: str, uri: str) -> Iterator[S3Object]:
    """Yield every object below ``s3://bucket/prefix``, without the markers of folders."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3, token = aws.client("s3", region), dict[str, str]()
    while True:
        page = aws.ask(s3.list_objects_v2, uri, Bucket=bucket, Prefix=prefix, MaxKeys=PAGE_SIZE, **token)
        for row in page.get("Contents", ()):
            if not row["Key"].endswith("/"):
                yield S3Object(row["Key"], int(row["Size"]), str(row["ETag"]).strip('"'))
        if not page.get("NextContinuationToken"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def list_pictures(region: str, uri: str, max_bytes: int) -> list[S3Object]:
    """List the images below a prefix.

    Args:
        region: AWS region.
        uri: ``s3://bucket/prefix``.
        max_bytes: Largest image in bytes.

    Raises:
        ConfigError: If there are none, or one of the objects would make the whole job fail.

    """
    objects = list(list_objects(region, uri))
    faults: list[tuple[Callable[[S3Object], bool], str]] = [
        (lambda f: not f.key.lower().endswith(SUFFIXES), f"not images ({', '.join(SUFFIXES)})"),
        (lambda f: f.size > max_bytes, f"larger than the bundle's limit of {max_bytes:,} bytes"),
        (lambda f: not f.size, "empty"),
    ]
    results = [_fault(uri, [f.key for f in objects if wrong(f)], why) for wrong, why in faults]
    if not objects:
        message = f"{uri}: there are no objects below this prefix. Upload images to it, or set another prefix."
        results = [Fault("source", message)]
    if wrong := [fault for fault in results if fault]:
        raise ConfigError(wrong)
    return objects


def _fault(uri: str, keys: list[str], why: str) -> Fault | None:
    if not keys:
        return None
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    names = ", ".join(repr(key) for key in keys[:MAX_LISTED])
    return Fault(
        "source", f"{uri}: {names}{more}: {why}. Each of them would fail the whole job. Move them out of this prefix."
    )
