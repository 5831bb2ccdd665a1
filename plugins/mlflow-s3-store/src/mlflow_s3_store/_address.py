"""Validation of ``s3://`` tracking and registry URIs, and the removal of passwords from them."""

import re
from collections.abc import Iterator

# S3's user guide: bucket naming rules.
_BUCKET = re.compile(r"(?!xn--)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"]*@")


def address_errors(uri: str) -> Iterator[str]:
    """Yield the errors of a URI, one sentence each, without the passwords in it."""
    safe_uri = without_password(uri)
    bucket, _, prefix = uri.removeprefix("s3:").removeprefix("//").partition("/")
    if not uri.startswith("s3://") or not bucket:
        yield f"{safe_uri!r} names no bucket; use s3://bucket/prefix"
    elif safe_uri == uri and not _BUCKET.fullmatch(bucket):
        yield f"{bucket!r} is not a valid bucket name: 3 to 63 of a-z, 0-9, '-' and '.', a letter or digit at both ends"
    if "?" in prefix or "#" in prefix:
        address = re.split("[?#]", safe_uri)[0]
        yield f"{address!r} has a query. Use s3://bucket/prefix alone; endpoint and region are separate settings"
    elif prefix and ("" in prefix.rstrip("/").split("/") or {".", ".."} & set(prefix.split("/"))):
        yield f"{safe_uri!r}: the prefix has an empty part, '.' or '..'. Use s3://bucket/one/two"


def has_password(uri: str) -> bool:
    """Return whether a URI contains a user name or a password."""
    return bool(_USER_INFO.search(uri))


def without_password(text: str) -> str:
    """Return the text without the user names and passwords of the URIs in it."""
    return _USER_INFO.sub("", text)
