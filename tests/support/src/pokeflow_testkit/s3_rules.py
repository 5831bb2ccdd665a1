"""Rules of S3 that moto does not check: checksums, public access, encryption, conditions."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs
from xml.etree import ElementTree
from xml.sax.saxutils import escape

Environ = dict[str, object]

WRITES = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject"})
"""Operations that may have a condition (If-Match, If-None-Match)."""
ENCRYPTED = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})
CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "crc32": lambda data: binascii.crc32(data).to_bytes(4, "big"),
}
PUBLIC = ("public-read", "public-read-write", "authenticated-read")
EVERYONE = re.compile(rb"groups/(global/AllUsers|global/AuthenticatedUsers)")


class S3Error(Exception):
    """A refusal by S3: an HTTP status, an error code, a message, and headers."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]

    @property
    def body(self) -> bytes:
        """The error in S3's XML."""
        said = f"<Code>{self.code}</Code><Message>{escape(str(self))}</Message><RequestId>double</RequestId>"
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{said}</Error>'.encode()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the rules read it: operation, path, query, and decoded body."""

    environ: Environ
    method: str
    operation: str
    bucket: str
    key: str
    query: dict[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, or an empty text."""
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    @property
    def conditional(self) -> bool:
        """True for a write with a condition on the stored object."""
        return self.operation in WRITES and bool(self.header("if-match") or self.header("if-none-match"))


class Holder(Protocol):
    """An object that knows the stored objects and the uploaded parts."""

    uploads: dict[str, "Upload"]

    def etag(self, bucket: str, key: str) -> str | None:
        """Return the etag of a stored object without quotes, or None."""
        ...


@dataclass(slots=True)
class Upload:
    """A multipart upload in progress: its algorithm (empty: none), and the checksum and size of each part."""

    algorithm: str
    parts: dict[int, tuple[str, int]]


KEYED = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
BUCKETED = {"HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
UPLOADING = {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload", "GET": "ListParts"}


def operation(method: str, key: str, bucket: str, query: Mapping[str, str], copied: bool) -> str:
    """Return S3's name of the operation; ``GET ?acl`` and the like for rare ones."""
    if not bucket:
        return "ListBuckets"
    if not key:
        known = {"list-type": "ListObjectsV2", "uploads": "ListMultipartUploads", "delete": "DeleteObjects"}
        named = next((name for word, name in known.items() if word in query), BUCKETED.get(method, "ListObjects"))
        rare = [word for word in ("acl", "policy", "versioning", "encryption", "publicAccessBlock") if word in query]
        return f"{method} ?{rare[0]}" if rare else named
    if "uploadId" in query:
        part = "UploadPartCopy" if copied else "UploadPart"
        return part if method == "PUT" else UPLOADING.get(method, method)
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in query else f"POST ?{next(iter(query), '')}"
    rare = [word for word in ("acl", "tagging", "attributes", "retention", "legal-hold") if word in query]
    return f"{method} ?{rare[0]}" if rare else "CopyObject" if copied and method == "PUT" else KEYED[method]


def parse_request(environ: Environ, body: bytes) -> Request:
    """Parse a request; a chunked body is decoded, and its trailer becomes headers."""
    query = {k: v[0] for k, v in parse_qs(str(environ["QUERY_STRING"]), keep_blank_values=True).items()}
    path = str(environ["PATH_INFO"]).encode("latin-1").decode()
    bucket, _, key = path.lstrip("/").partition("/")
    method = str(environ["REQUEST_METHOD"])
    if target := str(environ.get("HTTP_X_AMZ_TARGET", "")):  # a service other than S3
        return Request(environ, method, target.rpartition(".")[2], "", "", query, body)
    if str(environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")).startswith("STREAMING-"):
        body = dechunk(environ, body)
    copied = "HTTP_X_AMZ_COPY_SOURCE" in environ
    parsed = Request(environ, method, operation(method, key, bucket, query, copied), bucket, key, query, body)
    if parsed.operation == "PutObject" and not parsed.header("x-amz-sdk-checksum-algorithm"):
        # moto keeps a checksum only if this header names it; S3 keeps any
        for name in CHECKSUMS:
            if parsed.header(f"x-amz-checksum-{name}"):
                environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = name.upper()
    return parsed


def dechunk(environ: Environ, body: bytes) -> bytes:
    """Return the bytes of an aws-chunked body."""
    data, at = bytearray(), 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if not size:
            break
        data += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    for line in body[end + 2 :].split(b"\r\n"):
        name, _, value = line.decode().partition(":")
        if name:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    for name in ("HTTP_X_AMZ_TRAILER", "HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "HTTP_CONTENT_ENCODING"):
        environ.pop(name, None)
    environ |= {"HTTP_X_AMZ_CONTENT_SHA256": "UNSIGNED-PAYLOAD", "CONTENT_LENGTH": str(len(data))}
    return bytes(data)


def check_bytes(request: Request) -> None:
    """Refuse a body that does not match its checksums."""
    body, sent = request.body, request.header("x-amz-content-sha256")
    if len(sent) == 64 and sent != hashlib.sha256(body).hexdigest():
        raise S3Error(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.")
    md5 = request.header("content-md5")
    if md5 and md5 != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    if request.operation in ("CompleteMultipartUpload", "CopyObject"):
        return  # their header is the checksum of the object
    for name in request.environ:
        if not name.startswith("HTTP_X_AMZ_CHECKSUM_") or name.endswith(("_ALGORITHM", "_MODE", "_TYPE")):
            continue
        algorithm = name.rpartition("_")[2].lower()
        if algorithm not in CHECKSUMS:
            raise S3Error(501, "NotImplemented", f"This double of S3 cannot check {algorithm}.")
        if request.environ[name] != base64.b64encode(CHECKSUMS[algorithm](body)).decode():
            raise S3Error(400, "BadDigest", f"The {algorithm.upper()} you specified did not match what we received.")


def check_access(request: Request, encryption: str | None, kms_key: str | None) -> None:
    """Refuse requests that are unsigned, make objects public, or lack the required encryption."""
    if not request.header("authorization") and "X-Amz-Signature" not in request.query:
        raise S3Error(403, "AccessDenied", "Access Denied")
    grants = (str(v).encode() for k, v in request.environ.items() if k.startswith("HTTP_X_AMZ_GRANT_"))
    opened = request.header("x-amz-acl") in PUBLIC or any(map(EVERYONE.search, grants))
    if opened or ("acl" in request.query and EVERYONE.search(request.body)):
        raise S3Error(403, "AccessDenied", "Public access is blocked for this bucket.")
    if encryption and request.operation in ENCRYPTED:
        key = request.header("x-amz-server-side-encryption-aws-kms-key-id")
        if request.header("x-amz-server-side-encryption") != encryption or (kms_key and key != kms_key):
            raise S3Error(403, "AccessDenied", "The bucket's policy denies objects without its encryption.")


def check_condition(request: Request, holder: Holder) -> None:
    """Refuse a write whose condition does not hold; call it under the lock that the write also holds."""
    if not request.conditional:
        return
    etag = holder.etag(request.bucket, request.key)
    wanted = request.header("if-match").strip('"')
    if request.header("if-none-match") not in ("", "*"):
        raise S3Error(501, "NotImplemented", "If-None-Match of a write can only be *.")
    if wanted and etag is None:
        raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
    if (wanted and wanted != etag) or (request.header("if-none-match") and etag is not None):
        raise S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def check_part(request: Request, holder: Holder) -> None:
    """Refuse a part of an unknown upload, or one without the checksum that the upload promised."""
    upload = holder.uploads.get(request.query["uploadId"])
    if upload is None:
        raise S3Error(404, "NoSuchUpload", "The specified upload does not exist.")
    if upload.algorithm and not request.header(f"x-amz-checksum-{upload.algorithm}"):
        raise S3Error(400, "InvalidRequest", f"Checksum Type mismatch occurred, expected {upload.algorithm}.")


def check_completion(request: Request, holder: Holder) -> None:
    """Refuse to complete an upload whose parts, size or checksum differ from the uploaded ones."""
    upload = holder.uploads.get(request.query["uploadId"])
    if upload is None:
        raise S3Error(404, "NoSuchUpload", "The specified upload does not exist. It may have been completed.")
    digests, size, tag = b"", 0, f"Checksum{upload.algorithm.upper()}"
    for part in ElementTree.fromstring(request.body).findall("{*}Part"):
        number, said = int(part.findtext("{*}PartNumber") or 0), part.findtext(f"{{*}}{tag}")
        if number not in upload.parts:
            raise S3Error(400, "InvalidPart", f"Part {number} could not be found.")
        checksum, length = upload.parts[number]
        size += length
        if upload.algorithm and said is None:
            missing = f"The complete request must include the checksum for each part; missing for part {number}."
            raise S3Error(400, "InvalidRequest", missing)
        if upload.algorithm and said != checksum:
            raise S3Error(400, "InvalidPart", f"The checksum of part {number} is another one.")
        digests += base64.b64decode(checksum)
    whole, object_size = request.header(f"x-amz-checksum-{upload.algorithm}"), request.header("x-amz-mp-object-size")
    if upload.algorithm and whole:
        composite = base64.b64encode(CHECKSUMS[upload.algorithm](digests)).decode()
        if whole.partition("-")[0] != composite and request.header("x-amz-checksum-type") != "FULL_OBJECT":
            raise S3Error(400, "BadDigest", "The checksum of the parts' checksums is another one.")
    if object_size and int(object_size) != size:
        raise S3Error(400, "InvalidRequest", "The parts are not of the size that x-amz-mp-object-size says.")
