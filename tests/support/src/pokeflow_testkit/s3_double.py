"""A double of S3: moto with more of S3's refusals, injected faults, and counters."""

import json
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from pokeflow_testkit.s3_rules import (
    Request,
    S3Error,
    Upload,
    check_access,
    check_bytes,
    check_completion,
    check_condition,
    check_part,
    parse_request,
)
from pokeflow_testkit.s3_signature import check_signature

CONTROL = "/_control"


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults to inject: kinds, shares of the requests between 0 and 1, and operations.

    ``slowdown``: 503 SlowDown before anything is applied; ``internal``: 500 InternalError, likewise; ``hidden``: that
    error under status 200, as S3 answers a copy or a completion that fails after its headers are sent; ``conflict``:
    409 ConditionalRequestConflict of a conditional write, likewise; ``cut``: the connection is closed before anything
    is applied, and a download in the middle of its answer; ``lost``: it is closed after the request was applied.
    ``only``: operations that may fail (none: all); ``times``: total number of faults (None: unlimited); ``latency``:
    seconds before every answer.
    ``page``: keys in a listing's page; ``encryption`` and ``kms_key``: required of objects; ``copy_limit``: maximum
    bytes of a CopyObject; ``forget``: whether a completed upload is forgotten at once, as S3 may do. ``secret``: the
    only accepted secret; ``clock``: seconds by which the server's clock is ahead; ``region``: the only region of the
    buckets; ``lists``: whether the caller may list; if not, access to a missing object is denied.
    """

    slowdown: float = 0.0
    internal: float = 0.0
    hidden: float = 0.0
    conflict: float = 0.0
    cut: float = 0.0
    lost: float = 0.0
    only: tuple[str, ...] = ()
    times: int | None = None
    latency: float = 0.0
    page: int | None = None
    encryption: str | None = None
    kms_key: str | None = None
    copy_limit: int = 5 * 2**30
    forget: bool = True
    secret: str | None = None
    clock: float = 0.0
    region: str | None = None
    lists: bool = True
    seed: int = 0


@dataclass(slots=True)
class Counts:
    """Requests since the last reset; ``log`` holds [operation, key, status] in the order of the answers.

    A status of 0 is an answer that was not delivered. ``most``: maximum number of concurrent requests.
    """

    requests: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    received: int = 0
    sent: int = 0
    most: int = 0
    log: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; ``arrives`` is the share of the body that is delivered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    arrives: float = 1.0


def _xml(refused: S3Error) -> Answer:
    return Answer(refused.status, [("Content-Type", "application/xml"), *refused.headers], refused.body)


def _may_strike(fault: str, request: Request) -> bool:
    """Return whether S3 answers such a request with this fault."""
    if fault == "conflict":
        return request.conditional
    return fault != "hidden" or request.operation in ("CopyObject", "UploadPartCopy", "CompleteMultipartUpload")


class Double:
    """moto behind the rules and the faults, and its WSGI application."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self.app = DomainDispatcherApplication(create_backend_app)
        # moto handles one request at a time, as it checks a condition and then writes.
        self.moto, self.lock = threading.RLock(), threading.Lock()
        self.now = 0
        self.reset()

    def reset(self) -> None:
        """Remove all objects, faults and counts."""
        from moto.core.model_instances import reset_model_data
        from moto.s3.models import s3_backends

        with self.moto:
            self.uploads: dict[str, Upload] = {}
            for by_partition in list(s3_backends.values()):
                for backend in by_partition.values():
                    backend.reset()
            reset_model_data()
        self.set_faults(Faults())
        self.counts = Counts()

    def set_faults(self, faults: Faults) -> None:
        """Set the faults, and restart their count and random draws."""
        with self.lock:
            self.faults, self.left, self.dice = faults, faults.times, random.Random(faults.seed)

    def etag(self, bucket: str, key: str) -> str | None:
        """Return the etag of the object under a key."""
        stored = self._stored(bucket, key)
        return stored.etag.strip('"') if stored else None

    def _stored(self, bucket: str, key: str) -> Any:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import FakeKey, s3_backends

        known = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        stored = known.get_object(bucket, key) if bucket in known.buckets else None
        return stored if isinstance(stored, FakeKey) else None

    def answer(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer a client's request."""
        if environ["PATH_INFO"] == CONTROL:
            return self._control(environ["REQUEST_METHOD"], body)
        request = parse_request(environ, body)
        with self.lock:
            self.now += 1
            self.counts.most = max(self.counts.most, self.now)
        try:
            if self.faults.latency:
                time.sleep(self.faults.latency)
            answer = self._faulty(request)
        finally:
            with self.lock:
                self.now -= 1
        with self.lock:
            counts, status = self.counts, answer.status if answer.arrives == 1 else 0
            counts.requests[request.operation] += 1
            counts.methods[request.method] += 1
            counts.statuses[status] += 1
            counts.received += len(body)
            counts.sent += int(len(answer.body) * answer.arrives)
            counts.log.append((request.operation, f"{request.bucket}/{request.key}", status))
        return answer

    def _control(self, method: str, body: bytes) -> Answer:
        if method == "DELETE":
            self.reset()
        elif method == "POST":
            said: dict[str, Any] = json.loads(body)
            if strange := said.keys() - {f.name for f in fields(Faults)}:
                return Answer(400, [], f"no faults: {sorted(strange)}".encode())
            self.set_faults(Faults(**said))
        with self.lock:
            counts = json.dumps({f.name: getattr(self.counts, f.name) for f in fields(Counts)}).encode()
        return Answer(200, [("Content-Type", "application/json")], counts)

    def _fault(self, request: Request) -> str | None:
        """Return the fault to inject into this request."""
        faults = self.faults
        with self.lock:
            drawn = self.dice.random()  # always drawn, so that a seed gives the same draws
            if self.left == 0 or (faults.only and request.operation not in faults.only):
                return None
            for name in ("slowdown", "internal", "hidden", "cut", "lost", "conflict"):
                share = getattr(faults, name) if _may_strike(name, request) else 0.0
                if drawn < share:
                    self.left = None if self.left is None else self.left - 1
                    self.counts.faults[name] += 1
                    return name
                drawn -= share
        return None

    def _faulty(self, request: Request) -> Answer:
        fault = self._fault(request)
        if fault == "slowdown":
            return _xml(S3Error(503, "SlowDown", "Please reduce your request rate."))
        if fault in ("internal", "hidden"):
            broken = S3Error(500, "InternalError", "We encountered an internal error. Please try again.")
            return replace(_xml(broken), status=200 if fault == "hidden" else 500)
        if fault == "conflict":
            clash = "The conditional request cannot succeed due to a conflicting operation against this resource."
            return _xml(S3Error(409, "ConditionalRequestConflict", clash))
        if fault == "cut" and request.operation != "GetObject":
            return Answer(0, [], b"", arrives=0)
        try:
            answer = self._apply(request)
        except S3Error as refused:
            answer = _xml(refused)
        except Exception:  # noqa: BLE001 – an error of the double is reported by an answer that clients do not retry
            answer = _xml(S3Error(400, "TheDoubleIsBroken", traceback.format_exc()))
        return replace(answer, arrives=0.5 if fault == "cut" else 0.0) if fault else answer

    def _apply(self, request: Request) -> Answer:
        """Return moto's answer, unless S3 would refuse the request."""
        if "HTTP_X_AMZ_TARGET" in request.environ:
            with self.moto:
                return self._moto(request)
        check_signature(request, self.faults.secret, self.faults.clock, self.faults.region)
        check_access(request, self.faults.encryption, self.faults.kms_key)
        check_bytes(request)
        upload = request.query.get("uploadId", "")
        with self.moto:
            if request.operation in ("UploadPart", "UploadPartCopy"):
                check_part(request, self)
            if request.operation == "CompleteMultipartUpload" and (self.faults.forget or upload in self.uploads):
                check_completion(request, self)
            check_condition(request, self)
            if not self.faults.lists:
                self._check_listing(request)
            if request.operation in ("CopyObject", "UploadPartCopy"):
                self._check_copy(request)
            answer = self._moto(request)
            self._note(request, answer, upload)
        return answer

    def _check_listing(self, request: Request) -> None:
        """Deny listings and access to missing objects."""
        missing = request.operation in ("GetObject", "HeadObject") and self._stored(request.bucket, request.key) is None
        if missing or request.operation.startswith("ListObjects"):
            raise S3Error(403, "AccessDenied", "Access Denied")

    def _check_copy(self, request: Request) -> None:
        bucket, _, key = unquote(request.header("x-amz-copy-source")).partition("?")[0].lstrip("/").partition("/")
        source = self._stored(bucket, key)
        if source is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        if request.operation == "CopyObject" and source.size > self.faults.copy_limit:
            raise S3Error(400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size")
        wanted = request.header("x-amz-copy-source-if-match").strip('"')
        if wanted and source.etag.strip('"') != wanted:
            raise S3Error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold")

    def _note(self, request: Request, answer: Answer, upload: str) -> None:
        """Keep the state of uploads that the rules need."""
        if answer.status >= 300:
            return
        if request.operation == "CreateMultipartUpload":
            new = answer.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
            self.uploads[new] = Upload(request.header("x-amz-checksum-algorithm").lower(), {})
        elif request.operation in ("UploadPart", "UploadPartCopy"):
            known = self.uploads[upload]
            checksum = request.header(f"x-amz-checksum-{known.algorithm}") if known.algorithm else ""
            size = len(request.body)
            if request.operation == "UploadPartCopy":
                size = self._parts(request, upload)
            known.parts[int(request.query["partNumber"])] = checksum, size
        elif request.operation in ("CompleteMultipartUpload", "AbortMultipartUpload"):
            self.uploads.pop(upload, None)

    def _parts(self, request: Request, upload: str) -> int:
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        held = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[request.bucket].multiparts[upload]
        return int(held.parts[int(request.query["partNumber"])].size)

    def _moto(self, request: Request) -> Answer:
        environ = {**request.environ, "wsgi.input": BytesIO(request.body), "CONTENT_LENGTH": str(len(request.body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        if self.faults.page and request.operation.startswith("ListObjects"):
            environ["QUERY_STRING"] = f"{environ['QUERY_STRING']}&max-keys={self.faults.page}"
            if "max-keys" in request.query:
                raise S3Error(501, "NotImplemented", "The double sets the page's size; do not ask for one.")
        response: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], failed: object = None) -> None:
            response[:] = int(status[:3]), headers

        chunks: Iterable[bytes] = self.app(environ, start)
        body = b"".join(chunks)
        getattr(chunks, "close", lambda: None)()
        return Answer(response[0], self._composite(response[1]), body)

    @staticmethod
    def _composite(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Add the number of parts to composite checksums, which moto's HEAD leaves out."""
        etag = next((v for k, v in headers if k.lower() == "etag"), "").strip('"')
        parts = etag.partition("-")[2]
        hashes = ("x-amz-checksum-sha256", "x-amz-checksum-sha1")
        return [(k, f"{v}-{parts}" if parts and k.lower() in hashes and "-" not in v else v) for k, v in headers]
