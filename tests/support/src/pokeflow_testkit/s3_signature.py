"""Check signatures (version 4) as S3 does: their secret, time and region."""

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime

from pokeflow_testkit.s3_rules import Request, S3Error

SKEW = 900.0
"""Maximum difference of a client's clock in seconds."""
_FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)"
)


def check_signature(request: Request, secret: str | None, clock: float, region: str | None) -> None:
    """Refuse a request that is signed with another secret, at another time, or for another region."""
    match = _FORM.fullmatch(request.header("authorization"))
    if match is None:
        return  # signed otherwise or not at all: another rule checks that
    _, day, signed_for, names, signature = match.groups()
    moment = request.header("x-amz-date")
    sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    if abs(time.time() + clock - sent) > SKEW:
        text = "The difference between the request time and the current time is too large."
        raise S3Error(403, "RequestTimeTooSkewed", text)
    if region is not None and signed_for != region:
        text = "The bucket you are attempting to access must be addressed using the specified endpoint."
        raise S3Error(301, "PermanentRedirect", text, x_amz_bucket_region=region)
    if secret is None:
        return
    scope = f"{day}/{signed_for}/s3/aws4_request"
    canonical = hashlib.sha256(_canonical(request, names).encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, canonical))
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(key.hex(), signature):
        said = (
            "The request signature we calculated does not match the signature you provided. Check your key and method."
        )
        raise S3Error(403, "SignatureDoesNotMatch", said)


def _canonical(request: Request, names: str) -> str:
    """Return the canonical request: method, path, query, signed headers, and checksum of the body."""
    path, _, query = str(request.environ["RAW_URI"]).partition("?")
    pairs = sorted(pair if "=" in pair else f"{pair}=" for pair in query.split("&") if pair)
    headers = "".join(f"{name}:{' '.join(_header(request, name).split())}\n" for name in names.split(";"))
    return "\n".join((request.method, path, "&".join(pairs), headers, names, request.header("x-amz-content-sha256")))


def _header(request: Request, name: str) -> str:
    bare = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
    return str(request.environ.get(bare[name], "")) if name in bare else request.header(name)
