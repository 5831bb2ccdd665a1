"""What S3 checks of a signature (version 4): the secret it was made with, its time, and its region."""

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime

from pokeflow_testkit.s3_rules import Request, S3Error

SKEW = 900.0
"""Seconds that a client's clock may be wrong."""
_FORM = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)"
)


def check_signature(asked: Request, secret: str | None, clock: float, region: str | None) -> None:
    """Refuse a request that is signed with another secret, at another time, or for another region."""
    found = _FORM.fullmatch(asked.header("authorization"))
    if found is None:
        return  # signed in another way, or not at all, which is another rule's
    _, day, signed_for, names, signature = found.groups()
    moment = asked.header("x-amz-date")
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
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(_canonical(asked, names).encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(key.hex(), signature):
        said = (
            "The request signature we calculated does not match the signature you provided. Check your key and method."
        )
        raise S3Error(403, "SignatureDoesNotMatch", said)


def _canonical(asked: Request, names: str) -> str:
    """The request as it is signed: what it asks for, the headers that are signed, and the checksum of its body."""
    path, _, query = str(asked.environ["RAW_URI"]).partition("?")
    pairs = sorted(pair if "=" in pair else f"{pair}=" for pair in query.split("&") if pair)
    headers = "".join(f"{name}:{' '.join(_header(asked, name).split())}\n" for name in names.split(";"))
    return "\n".join((asked.method, path, "&".join(pairs), headers, names, asked.header("x-amz-content-sha256")))


def _header(asked: Request, name: str) -> str:
    bare = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
    return str(asked.environ.get(bare[name], "")) if name in bare else asked.header(name)
