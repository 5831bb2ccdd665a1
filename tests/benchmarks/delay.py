"""A way to a server that is longer: every answer comes so many seconds later, however many are under way.

It delays bytes and understands none, as a long line would: a request of a connection that is open costs the delay
once, whatever its size, and those of other connections wait at the same time.
"""

import asyncio
import http.client
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

CHUNK = 1 << 18


@dataclass(slots=True)
class Way:
    """Where the longer way begins, and how often an answer was waited for on it."""

    address: str
    exchanges: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """What the way adds to a request, in milliseconds: one after another on one connection, and ``many`` at once."""

    one: float
    many: int
    at_once: float

    def __str__(self) -> str:
        return (
            f"adds {self.one:.1f} ms to a request on an open connection, {self.at_once:.1f} ms to {self.many} at once"
        )


@contextmanager
def delayed(address: str, seconds: float) -> Iterator[Way]:
    """The longer way to a server, in a thread of this process."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    loop = asyncio.new_event_loop()
    way = Way("")

    async def carry(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        server, forth = await asyncio.open_connection(host, port, limit=CHUNK)
        for writer in (back, forth):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        asked = False

        async def requests() -> None:
            nonlocal asked
            while data := await client.read(CHUNK):
                way.exchanges += not asked
                asked = True
                forth.write(data)
                await forth.drain()
            forth.write_eof()

        async def arrivals() -> None:
            nonlocal asked
            data = b"-"
            while data:
                data = await server.read(CHUNK)
                asked = False
                answers.put_nowait((loop.time() + seconds, data))

        async def deliveries() -> None:
            while True:
                due, data = await answers.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    return
                back.write(data)
                await back.drain()

        asking = asyncio.gather(requests(), arrivals())
        try:
            with suppress(OSError, asyncio.CancelledError):  # the way ends: nobody waits for the answer
                await deliveries()
        finally:
            asking.cancel()
            with suppress(OSError, asyncio.CancelledError):
                await asking
            forth.close()
            back.close()

    async def serve() -> asyncio.Server:
        server = await asyncio.start_server(carry, "127.0.0.1", 0, limit=CHUNK, backlog=256)
        way.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    thread = threading.Thread(target=loop.run_forever, daemon=True, name="delay")
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serve(), loop).result()
    try:
        yield way
    finally:
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def check(near: str, way: Way, many: int = 16, requests: int = 40) -> Check:
    """Compare requests on the way with such as go straight to the server; whatever it answers is an answer."""

    def asked(address: str) -> list[float]:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        took = []
        try:
            for _ in range(requests + 1):
                began = time.perf_counter()
                connection.request("GET", "/health")
                connection.getresponse().read()
                took.append(1000 * (time.perf_counter() - began))
        finally:
            connection.close()
        return took[1:]  # the first one opens the connection

    def at_once(address: str) -> float:
        with ThreadPoolExecutor(many) as crew:
            return statistics.median(ms for some in crew.map(asked, [address] * many) for ms in some)

    one = statistics.median(asked(way.address)) - statistics.median(asked(near))
    return Check(one, many, at_once(way.address) - at_once(near))
