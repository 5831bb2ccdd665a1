"""A proxy that delays a server: every answer arrives some seconds later, however many requests are in progress.

It delays bytes without parsing them, as a long line does: a request on an open connection costs the delay once,
whatever its size, and requests on other connections are delayed at the same time.
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
    """The address of the proxy, and the number of exchanges through it."""

    address: str
    exchanges: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """The delay of a request in milliseconds: one after another on one connection, and ``many`` at once."""

    one: float
    many: int
    at_once: float

    def __str__(self) -> str:
        return (
            f"adds {self.one:.1f} ms to a request on an open connection, {self.at_once:.1f} ms to {self.many} at once"
        )


@contextmanager
def open_way(address: str, seconds: float) -> Iterator[Way]:
    """Start the proxy to a server in a thread of this process."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    loop = asyncio.new_event_loop()
    way = Way("")

    async def carry(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        server, forth = await asyncio.open_connection(host, port, limit=CHUNK)
        for writer in (back, forth):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        waiting = False

        async def requests() -> None:
            nonlocal waiting
            while data := await client.read(CHUNK):
                way.exchanges += not waiting
                waiting = True
                forth.write(data)
                await forth.drain()
            forth.write_eof()

        async def arrivals() -> None:
            nonlocal waiting
            data = b"-"
            while data:
                data = await server.read(CHUNK)
                waiting = False
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
            with suppress(OSError, asyncio.CancelledError):  # the proxy stops: no client waits for the answer
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
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def check(near: str, way: Way, many: int = 16, requests: int = 40) -> Check:
    """Compare requests through the proxy with direct ones; any answer counts."""

    def time_requests(address: str) -> list[float]:
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
        return took[1:]  # the first request opens the connection

    def at_once(address: str) -> float:
        with ThreadPoolExecutor(many) as pool:
            return statistics.median(ms for some in pool.map(time_requests, [address] * many) for ms in some)

    one = statistics.median(time_requests(way.address)) - statistics.median(time_requests(near))
    return Check(one, many, at_once(way.address) - at_once(near))
