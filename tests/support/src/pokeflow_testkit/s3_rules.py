"""What S3 refuses and moto lets pass: wrong checksums, public objects, missing encryption, broken conditions."""

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
"""What a condition (If-Match, If-None-Match) may stand on."""
ENCRYPTED = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload"})
CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "crc32": lambda data: binascii.crc32(data).to_bytes(4, "big"),
}
PUBLIC = ("public-read", "public-read-write", "authenticated-read")
EVERYONE = re.compile(rb"groups/(global/AllUsers|global/AuthenticatedUsers)")


class S3Error(Exception):
    """An answer of S3 that says no: an HTTP status, S3's word for it, a sentence, and headers."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]

    @property
    def body(self) -> bytes:
        """The error as S3 writes it."""
        said = f"<Code>{self.code}</Code><Message>{escape(str(self))}</Message><RequestId>double</RequestId>"
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{said}</Error>'.encode()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the rules see it: what it asks for, under which path, with which (decoded) bytes."""

    environ: Environ
    method: str
    operation: str
    bucket: str
    key: str
    query: dict[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value, or ``""``."""
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    @property
    def conditional(self) -> bool:
        """Whether it is a write that depends on what lies there."""
        return self.operation in WRITES and bool(self.header("if-match") or self.header("if-none-match"))


class Holder(Protocol):
    """Who knows what lies under the keys and which parts have come."""

    uploads: dict[str, "Upload"]

    def etag(self, bucket: str, key: str) -> str | None:
        """Of what lies there, without quotes, or None."""
        ...


@dataclass(slots=True)
class Upload:
    """A multipart upload that is under way: its algorithm (``""``: none), and of each part the checksum and size."""

    algorithm: str
    parts: dict[int, tuple[str, int]]


KEYED = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
BUCKETED = {"HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
UPLOADING = {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload", "GET": "ListParts"}


def operation(method: str, key: str, bucket: str, query: Mapping[str, str], copied: bool) -> str:
    """The name that S3's documentation has for such a request; ``GET ?acl`` and the like for the rare ones."""
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


def request(environ: Environ, body: bytes) -> Request:
    """What a request asks for; a body in chunks with a trailer is undone, and the trailer becomes headers."""
    query = {k: v[0] for k, v in parse_qs(str(environ["QUERY_STRING"]), keep_blank_values=True).items()}
    path = str(environ["PATH_INFO"]).encode("latin-1").decode()
    bucket, _, key = path.lstrip("/").partition("/")
    method = str(environ["REQUEST_METHOD"])
    if target := str(environ.get("HTTP_X_AMZ_TARGET", "")):  # another service than S3
        return Request(environ, method, target.rpartition(".")[2], "", "", query, body)
    if str(environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")).startswith("STREAMING-"):
        body = dechunked(environ, body)
    copied = "HTTP_X_AMZ_COPY_SOURCE" in environ
    found = Request(environ, method, operation(method, key, bucket, query, copied), bucket, key, query, body)
    if found.operation == "PutObject" and not found.header("x-amz-sdk-checksum-algorithm"):
        # moto keeps a checksum only where this header names it; S3 keeps whichever came
        for name in CHECKSUMS:
            if found.header(f"x-amz-checksum-{name}"):
                environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = name.upper()
    return found


def dechunked(environ: Environ, body: bytes) -> bytes:
    """The bytes of an aws-chunked body."""
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


def check_bytes(asked: Request) -> None:
    """Refuse a body that is not what its checksums say."""
    body, sent = asked.body, asked.header("x-amz-content-sha256")
    if len(sent) == 64 and sent != hashlib.sha256(body).hexdigest():
        raise S3Error(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.")
    md5 = asked.header("content-md5")
    if md5 and md5 != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    if asked.operation in ("CompleteMultipartUpload", "CopyObject"):
        return  # there it is the checksum of the object
    for name in asked.environ:
        if not name.startswith("HTTP_X_AMZ_CHECKSUM_") or name.endswith(("_ALGORITHM", "_MODE", "_TYPE")):
            continue
        algorithm = name.rpartition("_")[2].lower()
        if algorithm not in CHECKSUMS:
            raise S3Error(501, "NotImplemented", f"This double of S3 cannot check {algorithm}.")
        if asked.environ[name] != base64.b64encode(CHECKSUMS[algorithm](body)).decode():
            raise S3Error(400, "BadDigest", f"The {algorithm.upper()} you specified did not match what we received.")


def check_access(asked: Request, encryption: str | None, kms_key: str | None) -> None:
    """Refuse who does not sign, what would be public, and what is not encrypted as it must be."""
    if not asked.header("authorization") and "X-Amz-Signature" not in asked.query:
        raise S3Error(403, "AccessDenied", "Access Denied")
    grants = (str(v).encode() for k, v in asked.environ.items() if k.startswith("HTTP_X_AMZ_GRANT_"))
    opened = asked.header("x-amz-acl") in PUBLIC or any(map(EVERYONE.search, grants))
    if opened or ("acl" in asked.query and EVERYONE.search(asked.body)):
        raise S3Error(403, "AccessDenied", "Public access is blocked for this bucket.")
    if encryption and asked.operation in ENCRYPTED:
        key = asked.header("x-amz-server-side-encryption-aws-kms-key-id")
        if asked.header("x-amz-server-side-encryption") != encryption or (kms_key and key != kms_key):
            raise S3Error(403, "AccessDenied", "The bucket's policy denies objects without its encryption.")


def check_condition(asked: Request, holder: Holder) -> None:
    """Refuse a write whose condition does not hold; to be called under the lock under which it is then applied."""
    if not asked.conditional:
        return
    lies = holder.etag(asked.bucket, asked.key)
    wanted = asked.header("if-match").strip('"')
    if asked.header("if-none-match") not in ("", "*"):
        raise S3Error(501, "NotImplemented", "If-None-Match of a write can only be *.")
    if wanted and lies is None:
        raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
    if (wanted and wanted != lies) or (asked.header("if-none-match") and lies is not None):
        raise S3Error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")


def check_part(asked: Request, holder: Holder) -> None:
    """Refuse a part of an unknown upload, or one without the checksum that the upload promised."""
    upload = holder.uploads.get(asked.query["uploadId"])
    if upload is None:
        raise S3Error(404, "NoSuchUpload", "The specified upload does not exist.")
    if upload.algorithm and not asked.header(f"x-amz-checksum-{upload.algorithm}"):
        raise S3Error(400, "InvalidRequest", f"Checksum Type mismatch occurred, expected {upload.algorithm}.")


def check_completion(asked: Request, holder: Holder) -> None:
    """Refuse to complete an upload whose parts, size or checksum are not what came."""
    upload = holder.uploads.get(asked.query["uploadId"])
    if upload is None:
        raise S3Error(404, "NoSuchUpload", "The specified upload does not exist. It may have been completed.")
    digests, size, tag = b"", 0, f"Checksum{upload.algorithm.upper()}"
    for part in ElementTree.fromstring(asked.body).findall("{*}Part"):
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
    whole, told = asked.header(f"x-amz-checksum-{upload.algorithm}"), asked.header("x-amz-mp-object-size")
    if upload.algorithm and whole:
        composite = base64.b64encode(CHECKSUMS[upload.algorithm](digests)).decode()
        if whole.partition("-")[0] != composite and asked.header("x-amz-checksum-type") != "FULL_OBJECT":
            raise S3Error(400, "BadDigest", "The checksum of the parts' checksums is another one.")
    if told and int(told) != size:
        raise S3Error(400, "InvalidRequest", "The parts are not of the size that x-amz-mp-object-size says.")
