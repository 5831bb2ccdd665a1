"""The recognizer over HTTP.

POST /recognize   image/jpeg or image/png → matches
GET  /health      200 if the model is open and answers
GET  /metrics     counts, latencies, memory, temperature

One event loop handles all connections, so that slow clients block no thread; one thread recognizes, so that memory is
that of one picture. The number of waiting pictures and the bytes being received are bounded.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime import systemd, wire
from pokeflow_edge.runtime.metrics import Tally
from pokeflow_edge.runtime.recognizer import BundleRecognizer, ImageRejectedError
from pokeflow_edge.runtime.wire import RequestError, RequestHead
from pokeflow_vision.recognizer import Answer

log = logging.getLogger(__name__)
IMAGES = ("image/jpeg", "image/png")
PATHS = {"/recognize": "POST", "/health": "GET", "/metrics": "GET"}
RETRY = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Timeouts in seconds, and bounds of the load.

    Attributes:
        read: Timeout for a head or a body to arrive, and for a client to read a response.
        idle: Timeout for the next request of a connection.
        answer: Timeout of a recognition.
        stop: Timeout for open connections to finish when the service stops.
        linger: Time during which the rest of a rejected request is read: else the client would get a broken pipe
            instead of the response.
        waiting: Maximum number of pictures that wait in addition to the one being recognized.
        held: Maximum bytes of all pictures, including those being received; a single one may exceed it.
        connections: Maximum number of connections.

    """

    read: float = 10.0
    idle: float = 30.0
    answer: float = 30.0
    stop: float = 20.0
    linger: float = 0.5
    waiting: int = 8
    held: int = 64_000_000
    connections: int = 128


@dataclass(slots=True)
class Server:
    """A recognizer with its single thread, its connections and its pictures in progress."""

    recognizer: BundleRecognizer
    limits: ServerLimits = field(default_factory=ServerLimits)
    tally: Tally = field(default_factory=Tally)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "recognition"))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set["asyncio.Task[None]"] = field(default_factory=set)
    busy: set["Future[Answer]"] = field(default_factory=set)
    held: int = 0
    since: float | None = None
    """Monotonic time at which the current recognition began, None if idle."""

    @property
    def stuck(self) -> bool:
        """True if the current recognition exceeds its timeout."""
        since = self.since
        return since is not None and time.monotonic() - since > self.limits.answer

    @property
    def under_way(self) -> int:
        """Number of pictures being recognized or waiting."""
        self.busy = {future for future in self.busy if not future.done()}
        return len(self.busy)

    async def serve_connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection from its first to its last request."""
        task = asyncio.current_task()
        assert task is not None  # this coroutine runs as a task
        self.connections.add(task)
        try:
            if len(self.connections) > self.limits.connections:
                await self._refuse(
                    reader, writer, RequestError(503, "too many connections. Try again in a moment.", RETRY)
                )
            else:
                while (first := await self._first(reader)) and await self._serve_request(first, reader, writer):
                    pass
            writer.close()
            async with asyncio.timeout(self.limits.read):
                await writer.wait_closed()
        except (ConnectionError, EOFError, TimeoutError):
            pass  # the client has disconnected or does not read, so no response is possible
        finally:
            writer.transport.abort()
            self.connections.discard(task)

    async def _first(self, reader: StreamReader) -> bytes:
        """Return the first byte of the next request, or b'' if none arrives in time or the service stops."""
        first_byte = asyncio.ensure_future(reader.read(1))
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({first_byte, stop}, timeout=self.limits.idle, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if first_byte.done():
            return first_byte.result()
        first_byte.cancel()
        return b""

    async def _serve_request(self, first: bytes, reader: StreamReader, writer: StreamWriter) -> bool:
        """Answer one request; return whether another one may follow on this connection."""
        try:
            try:
                async with asyncio.timeout(self.limits.read):
                    head = await wire.head(reader, first)
            except TimeoutError as error:
                raise self._timeout_error("head") from error
            began = time.perf_counter()
            status, payload, headers = await self._handle(head, reader, writer)
        except RequestError as fault:
            await self._refuse(reader, writer, fault)
            return False
        self.tally.answers[status] += 1
        if "matches" in payload:
            self.tally.took({**payload["milliseconds"], "request": round((time.perf_counter() - began) * 1000, 3)})
        close = not head.keep or self.stopping.is_set()
        async with asyncio.timeout(self.limits.read):
            await wire.answer(writer, status, payload, close=close, headers=headers)
        return not close

    async def _handle(
        self, head: RequestHead, reader: StreamReader, writer: StreamWriter
    ) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
        if head.path not in PATHS:
            routes = ", ".join(f"{method} {path}" for path, method in PATHS.items())
            raise RequestError(404, f"unknown path {head.path[:80]}. Known: {routes}.")
        if head.method != PATHS[head.path]:
            method = PATHS[head.path]
            raise RequestError(405, f"{head.path} requires {method}, not {head.method}.", {"Allow": method})
        if head.path == "/recognize":
            length = self._accept_length(head)
            self.held += length
            try:
                return await self._recognize(await self._body(length, head, reader, writer))
            finally:
                self.held -= length
        if head.headers.get("content-length", "0") != "0" or "transfer-encoding" in head.headers:
            raise RequestError(400, f"{head.path} accepts no body.")
        if head.path == "/metrics":
            return 200, {**self.recognizer.bundle.describe, "under_way": self.under_way, **self.tally.to_dict()}, {}
        status = "stuck" if self.stuck else "stopping" if self.stopping.is_set() else "ok"
        return 200 if status == "ok" else 503, {"status": status, **self.recognizer.bundle.describe}, {}

    def _accept_length(self, head: RequestHead) -> int:
        """Return the size in bytes of the picture to receive; raise a RequestError if it is not accepted."""
        if head.kind not in IMAGES:
            raise RequestError(415, f"content type {head.kind[:80]!r} is not supported. Send {' or '.join(IMAGES)}.")
        length, limit = head.length(), self.recognizer.limits.max_bytes
        if length > limit:
            raise RequestError(413, f"the request has {length:,} bytes; the limit is {limit:,}.")
        if self.held and self.held + length > self.limits.held:
            raise RequestError(503, "too many bytes are in progress. Try again in a moment.", RETRY)
        return length

    async def _body(self, length: int, head: RequestHead, reader: StreamReader, writer: StreamWriter) -> bytes:
        expected = head.headers.get("expect", "").lower()
        if expected not in ("", "100-continue"):
            raise RequestError(417, f"expectation {expected[:80]!r} cannot be met.")
        if expected:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(self.limits.read):
                return await reader.readexactly(length)
        except TimeoutError as error:
            raise self._timeout_error("body") from error

    async def _recognize(self, body: bytes) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
        overloaded = self.under_way > self.limits.waiting
        if overloaded or self.stuck:
            message = (
                "too many pictures at once. Try again in a moment." if overloaded else "the model does not respond."
            )
            return 503, {"error": message}, RETRY
        work = self.pool.submit(self._recognize_now, body)
        self.busy.add(work)
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(work), self.limits.answer)
        except TimeoutError:
            return 504, {"error": f"no result within {self.limits.answer:g} seconds."}, RETRY
        except ImageRejectedError as error:
            return error.status, {"error": str(error)}, {}
        except PokeflowError as error:
            log.error("%s", error)
            return 500, {"error": str(error)}, {}
        except Exception as error:  # every request gets a response
            log.exception("a picture could not be recognized")
            return 500, {"error": f"the model failed ({type(error).__name__})."}, {}
        return 200, {**answer.as_dict(), **self.recognizer.bundle.describe}, {}

    def _recognize_now(self, body: bytes) -> Answer:
        self.since = time.monotonic()
        try:
            return self.recognizer.answer(body)
        finally:
            self.since = None

    def _timeout_error(self, part: str) -> RequestError:
        return RequestError(408, f"the request's {part} did not arrive within {self.limits.read:g} seconds.")

    async def _refuse(self, reader: StreamReader, writer: StreamWriter, fault: RequestError) -> None:
        self.tally.answers[fault.status] += 1
        await wire.answer(writer, fault.status, {"error": str(fault)}, close=True, headers=fault.headers)
        writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.linger):
                while await reader.read(wire.MAX_HEAD):
                    pass


def listening(address: str) -> socket.socket:
    """Open a socket on ``HOST:PORT`` (``[::1]:8080`` for IPv6, port 0 for any free one), or raise a PokeflowError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise PokeflowError(f"--http {address}: not of the form HOST:PORT, such as 127.0.0.1:8080.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=128)
    except OSError as error:
        raise PokeflowError(
            f"--http {address}: cannot listen there ({error.strerror}). Choose another port, or stop the program that "
            "uses it."
        ) from error


def run(server: Server, listener: socket.socket) -> int:
    """Serve until SIGTERM or SIGINT, then finish open requests; return 0, or exit with 1 if they exceed the timeout."""
    finished = asyncio.run(_run(server, listener))
    server.pool.shutdown(wait=False, cancel_futures=True)
    if not finished:
        log.error("open requests did not finish within %g seconds", server.limits.stop)
        # A normal exit would wait for the recognition thread, possibly for ever.
        logging.shutdown()
        os._exit(1)
    return 0


async def _run(server: Server, sock: socket.socket) -> bool:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stopping.set)
    listener = await asyncio.start_server(server.serve_connection, sock=sock, limit=wire.MAX_HEAD)
    watchdog = asyncio.create_task(_ping_watchdog(server))
    host, port = sock.getsockname()[:2]
    log.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    systemd.notify(systemd.READY)
    await server.stopping.wait()
    systemd.notify(systemd.STOPPING)
    listener.close()
    under_way = server.connections.copy()
    _, late = await asyncio.wait(under_way, timeout=server.limits.stop) if under_way else ((), ())
    watchdog.cancel()
    return not late


async def _ping_watchdog(server: Server) -> None:
    """Notify systemd's watchdog unless a recognition exceeds its timeout; systemd then restarts the service."""
    seconds = systemd.watchdog_s()
    while seconds is not None:
        if not server.stuck:
            systemd.notify(systemd.ALIVE)
        await asyncio.sleep(seconds / 3)
