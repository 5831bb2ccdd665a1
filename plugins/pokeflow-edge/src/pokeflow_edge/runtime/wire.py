"""The subset of HTTP/1.1 that this service needs: request heads, bodies of known length, responses in JSON.

It is strict: it rejects all that RFC 9112 lets a server reject, so that no proxy can interpret a request differently.
"""

import asyncio
import json
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from pokeflow.errors import PokeflowError

MAX_HEAD = 16_384
"""Maximum size in bytes of a request line and its headers."""
_LINE = re.compile(r"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.([01])")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")


class RequestError(PokeflowError):
    """A faulty request, with the HTTP status of its response. The connection is closed afterwards."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body; header names are in lower case, ``keep`` keeps the connection open."""

    method: str
    path: str
    headers: Mapping[str, str]
    keep: bool

    @property
    def kind(self) -> str:
        """Media type of the body, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def length(self) -> int:
        """Return the length of the body in bytes; raise a RequestError if it is missing or invalid."""
        if "transfer-encoding" in self.headers:
            raise RequestError(411, "chunked bodies are not supported. Send a Content-Length.")
        if "content-length" not in self.headers:
            raise RequestError(411, "the request has no Content-Length.")
        value = self.headers["content-length"]
        if not (value.isascii() and value.isdecimal() and len(value) <= 15):
            raise RequestError(400, f"Content-Length {value[:40]!r} is not a number of bytes.")
        return int(value)


async def head(reader: StreamReader, first: bytes) -> RequestHead:
    """Read a head after its first byte; raise RequestError if it is invalid, EOFError if the client disconnects."""
    try:
        raw = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise RequestError(431, f"the request's head has more than {MAX_HEAD:,} bytes.") from error
    return parse_head(raw)


def parse_head(raw: bytes) -> RequestHead:
    """Parse a head, including its final empty line; raise a RequestError if it is invalid."""
    if len(raw) > MAX_HEAD:
        raise RequestError(431, f"the request's head has more than {MAX_HEAD:,} bytes.")
    line, *fields = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = _LINE.fullmatch(line)
    if not match:
        raise RequestError(400, f"{line[:80]!r} is not a request line of HTTP/1.0 or 1.1.")
    headers: dict[str, str] = {}
    for field in fields:
        parts = _FIELD.fullmatch(field)
        if not parts:
            raise RequestError(400, f"{field[:80]!r} is not a header.")
        name = parts[1].lower()
        if name in headers and name in ("content-length", "transfer-encoding", "host", "content-type"):
            raise RequestError(400, f"the header {name} is repeated.")
        headers[name] = f"{headers[name]}, {parts[2]}" if name in headers else parts[2]
    if "transfer-encoding" in headers and "content-length" in headers:
        raise RequestError(400, "a request cannot have both Content-Length and Transfer-Encoding.")
    is_http_1_1 = match[3] == "1"
    if is_http_1_1 and "host" not in headers:
        raise RequestError(400, "the request has no Host.")
    options = {wish.strip().lower() for wish in headers.get("connection", "").split(",")}
    keep = "close" not in options if is_http_1_1 else "keep-alive" in options
    return RequestHead(match[1], match[2].partition("?")[0], headers, keep)


async def answer(
    writer: StreamWriter, status: int, payload: Mapping[str, Any], *, close: bool, headers: Mapping[str, str]
) -> None:
    """Send a response with a JSON body."""
    body = (json.dumps(payload, ensure_ascii=False, allow_nan=False) + "\n").encode()
    lines = {
        "Date": formatdate(usegmt=True),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close" if close else "keep-alive",
        **headers,
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{text}\r\n".encode("latin-1") + body)
    await writer.drain()
