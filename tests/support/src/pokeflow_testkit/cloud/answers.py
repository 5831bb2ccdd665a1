"""Requests and errors in AWS's protocols."""

import json
import re
import struct
from collections import Counter
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from pokeflow_testkit.s3_double import Answer

from .state import AwsError, Row
from .validation import model

SIGNED = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
SERVICES = {"monitoring": "cloudwatch"}
"""Names of service models by the name that signs requests, where they differ."""
QUERY_CODES = {
    "ThrottlingException": ("Throttling", 400),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "AccessDeniedException": ("AccessDenied", 403),
    "ValidationException": ("ValidationError", 400),
}


class Call:
    """One call of a service other than S3: caller, region, operation and request."""

    def __init__(self, environ: Row, body: bytes) -> None:
        signed = SIGNED.search(str(environ.get("HTTP_AUTHORIZATION", "")))
        self.key, self.region, signing = signed.groups() if signed else ("", "us-east-1", "")
        self.service, self.path = SERVICES.get(signing, signing), str(environ["PATH_INFO"])
        self.environ, self.body = environ, body
        target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
        self.json, self.cbor = bool(target), "HTTP_SMITHY_PROTOCOL" in environ
        form = {} if target or self.cbor else {k: v[0] for k, v in parse_qs(body.decode("latin-1")).items()}
        named = target.rpartition(".")[2] or form.get("Action") or self.path.rpartition("/")[2]
        self.operation = str(named)
        self.request = self._request(form)

    def _request(self, form: dict[str, str]) -> Row:
        if self.json:
            try:
                said = json.loads(self.body or b"{}")
            except ValueError:
                return {}
            return said if isinstance(said, dict) else {}
        if self.cbor or not form:
            return {}
        from moto.core.model import ServiceModel
        from moto.core.parse import QueryParser

        known = model(self.service)
        if self.operation not in known.operation_names:
            return dict(form)
        service = ServiceModel(known._service_description, known.service_name)
        values = parse_qs(self.body.decode(), keep_blank_values=True)
        parts = {"values": {k: v[0] for k, v in values.items()}, "method": "POST", "headers": {}, "url_path": "/"}
        return dict(QueryParser(service.operation_model(self.operation)).parse(parts))

    @property
    def who(self) -> str:
        """The caller: ``client``, or the job whose role made the call."""
        return self.key.removeprefix("ASIA-") if self.key.startswith("ASIA-") else "client"

    def said(self, result: Row) -> Answer:
        """Return an answer in JSON."""
        return Answer(200, [("Content-Type", "application/x-amz-json-1.1")], json.dumps(result).encode())

    def error_answer(self, error: AwsError) -> Answer:
        """Return an error in the call's protocol."""
        code, status = error.code, error.status
        if self.json:
            said = json.dumps({"__type": code, "message": str(error)}).encode()
            return Answer(status, [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)], said)
        if self.cbor:
            headers = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
            return Answer(status, headers, _cbor({"__type": code, "message": str(error)}))
        code, status = QUERY_CODES.get(code, (code, status))
        said = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(str(error))}</Message></Error>".encode()
        whole = b"<ErrorResponse>" + said + b"<RequestId>cloud</RequestId></ErrorResponse>"
        return Answer(status, [("Content-Type", "text/xml")], whole)


def _cbor(value: dict[str, str]) -> bytes:
    """Encode a map of strings as CBOR."""
    out = bytes([0xA0 | len(value)])
    for text in (part for pair in value.items() for part in pair):
        raw = text.encode()
        out += b"\x79" + struct.pack(">H", len(raw)) + raw
    return out


def error_code(answer: Answer, json_said: bool) -> str:
    """Return the error code of an answer, or an empty text if it is no error."""
    if answer.status < 400:
        return ""
    if json_said:
        try:
            return str(json.loads(answer.body).get("__type", "")).rpartition("#")[2]
        except ValueError:
            return "?"
    match = re.search(rb"<Code>([^<]+)</Code>", answer.body)
    return match[1].decode() if match else "?"


def count_operations(calls: list[dict[str, Any]]) -> Counter[str]:
    """Count the calls of each operation."""
    return Counter(call["operation"] for call in calls)
