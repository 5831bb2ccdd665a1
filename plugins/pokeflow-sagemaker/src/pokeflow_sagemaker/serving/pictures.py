"""Listing of the objects below a prefix: the input images of a batch transform job, and its output."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pokeflow import ConfigError, Fault
from pokeflow_sagemaker import aws

SUFFIXES = (".jpg", ".jpeg", ".png")
SHOWN, PAGE = 5, 1000
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
        page = aws.ask(s3.list_objects_v2, uri, Bucket=bucket, Prefix=prefix, MaxKeys=PAGE, **token)
        for row in page.get("Contents", ()):
            if not row["Key"].endswith("/"):
                yield S3Object(row["Key"], int(row["Size"]), str(row["ETag"]).strip('"'))
        if not page.get("NextContinuationToken"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def list_pictures(region: str, uri: str, most: int) -> list[S3Object]:
    """List the images below a prefix.

    Args:
        region: AWS region.
        uri: ``s3://bucket/prefix``.
        most: largest image in bytes.

    Raises:
        ConfigError: if there are none, or one of the objects would make the whole job fail.

    """
    found = list(list_objects(region, uri))
    faults: list[tuple[Callable[[S3Object], bool], str]] = [
        (lambda f: not f.key.lower().endswith(SUFFIXES), f"no pictures ({', '.join(SUFFIXES)})"),
        (lambda f: f.size > most, f"larger than the {most:,} bytes that the bundle takes"),
        (lambda f: not f.size, "empty"),
    ]
    told = [_told(uri, [f.key for f in found if wrong(f)], why) for wrong, why in faults]
    if not found:
        told = [Fault("source", f"{uri}: there is nothing below it.")]
    if wrong := [fault for fault in told if fault]:
        raise ConfigError(wrong)
    return found


def _told(uri: str, keys: list[str], why: str) -> Fault | None:
    if not keys:
        return None
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    names = ", ".join(repr(key) for key in keys[:SHOWN])
    return Fault("source", f"{uri}: {names}{more}: {why}. One of these fails the whole job: move them elsewhere.")
