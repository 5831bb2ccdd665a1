"""Request heads are parsed, and invalid ones are refused."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_edge.runtime import wire
from pokeflow_edge.runtime.wire import RequestError


def head(text: str) -> wire.RequestHead:
    return wire.parse_head(text.replace("\n", "\r\n").encode("latin-1"))


def test_header_names_are_lower_case():
    parsed = head("POST /recognize?x=1 HTTP/1.1\nHost: pi\nContent-TYPE: image/jpeg; q=1\nContent-Length: 12\n\n")
    assert (parsed.method, parsed.path, parsed.kind, parsed.length()) == ("POST", "/recognize", "image/jpeg", 12)
    assert parsed.headers["host"] == "pi"


@pytest.mark.parametrize(
    ("version", "wish", "kept"),
    [("1.1", "", True), ("1.1", "Connection: close\n", False), ("1.1", "Connection: TE, Close\n", False),
     ("1.0", "", False), ("1.0", "Connection: keep-alive\n", True)],
)  # fmt: skip
def test_keep_alive_follows_version_and_connection_header(version, wish, kept):
    assert head(f"GET /health HTTP/{version}\nHost: pi\n{wish}\n").keep is kept


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /health\n\n", 400),
        ("GET /health HTTP/2.0\nHost: pi\n\n", 400),
        ("GET  /health HTTP/1.1\nHost: pi\n\n", 400),
        ("get /health HTTP/1.1\nHost: pi\n\n", 400),
        ("GET http://pi/health HTTP/1.1\nHost: pi\n\n", 400),
        ("GET /health HTTP/1.1\n\n", 400),
        ("GET /health HTTP/1.1\nHost: pi\nHost: pi\n\n", 400),
        ("GET /health HTTP/1.1\nHost : pi\n\n", 400),
        ("GET /health HTTP/1.1\nHost: pi\n folded: line\n\n", 400),
        ("GET /health HTTP/1.1\nHost: pi\nX: a\0b\n\n", 400),
        ("POST / HTTP/1.1\nHost: pi\nContent-Length: 1\nContent-Length: 1\n\n", 400),
        ("POST / HTTP/1.1\nHost: pi\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", 400),
        (f"GET / HTTP/1.1\nHost: {'x' * 20_000}\n\n", 431),
    ],
)
def test_ambiguous_request_head_is_refused(text, status):
    with pytest.raises(RequestError) as fault:
        head(text)
    assert fault.value.status == status


def test_lines_without_carriage_return_are_refused():
    with pytest.raises(RequestError, match="not a request line"):
        wire.parse_head(b"GET / HTTP/1.1\nHost: pi\n\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [("", 411), ("Transfer-Encoding: chunked\n", 411), ("Content-Length: -1\n", 400), ("Content-Length: 1_0\n", 400),
     ("Content-Length: +1\n", 400), ("Content-Length: ²\n", 400), ("Content-Length: 1, 1\n", 400),
     ("Content-Length: 9999999999999999999\n", 400), ("Content-Length: 0x1\n", 400), ("Content-Length: \n", 400)],
)  # fmt: skip
def test_content_length_must_be_plain_digits(headers, status):
    with pytest.raises(RequestError) as fault:
        head(f"POST / HTTP/1.1\nHost: pi\n{headers}\n").length()
    assert fault.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_give_a_head_or_a_request_error(noise):
    raw = b"GET /" + noise + b"\r\n\r\n"
    try:
        parsed = wire.parse_head(raw)
    except RequestError as fault:
        assert fault.status in (400, 431)  # noqa: PT017
    else:
        assert parsed.path.startswith("/")


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"], exclude_characters="\x7f"), max_size=60))
def test_header_value_is_stripped(value):
    assert head(f"GET / HTTP/1.1\nHost: pi\nX-Own: {value}\n\n").headers["x-own"] == value.strip(" \t")


def test_endless_head_is_refused_at_the_limit():
    async def read() -> wire.RequestHead:
        reader = asyncio.StreamReader(limit=wire.MAX_HEAD)
        reader.feed_data(b"ET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
        return await wire.head(reader, b"G")

    with pytest.raises(RequestError, match="more than 16,384 bytes"):
        asyncio.run(read())
