"""Serves this bundle over HTTP as SageMaker asks of a container: ``python code/serve.py``.

GET  /ping                  200 and nothing else: the model is open, and has answered a picture
POST /invocations           a picture in, matches out: inference.py
GET  /execution-parameters  what a batch transform job may ask of it at once

The contract: port 8080, a ping answered within 2 seconds and a request within 60, SIGKILL 30 seconds after SIGTERM.
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import asyncio
import importlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger(__name__)
PORT = 8080
READ_S, ANSWER_S, STOP_S = 30.0, 25.0, 25.0
"""Seconds for a request to arrive, for its answer, and for those under way at SIGTERM."""
WAITING = 16
"""Requests that may wait beside those being answered; each holds a picture in memory."""
LINGER = 0.5
"""Seconds for which what a refused client still sends is read: it would else see a broken pipe, not the answer."""


@dataclass
class Served:
    """A model that is open, the threads that answer with it, and whether it last did."""

    inference: Any
    model: Any
    threads: int = field(default_factory=lambda: max(1, min(4, os.cpu_count() or 1)))
    read_s: float = READ_S
    answer_s: float = ANSWER_S
    reading: int = 0
    doubted: bool = False
    busy: set["Future[Any]"] = field(default_factory=set)
    pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.threads)

    async def ping(self, _: Request) -> Response:
        """Healthy or not; after an answer that failed, the model has to prove itself again."""
        if self.doubted:
            try:
                await asyncio.wait_for(self._within(self.inference.prove, self.model), 1.5)
            except (ValueError, TimeoutError) as error:
                return self._no(503, f"the model does not answer: {error}")
            self.doubted = False
        return Response(status_code=200)

    async def execution_parameters(self, _: Request) -> Response:
        """What one container takes: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html."""
        payload = min(100, max(1, math.ceil(self.inference.limits()["max_bytes"] / 1e6)))
        at_once = max(1, min(self.threads, 100 // payload))  # SageMaker's limit on both together is 100 MB
        strategy = {"BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": payload}
        return JSONResponse({"MaxConcurrentTransforms": at_once, **strategy})

    async def invocations(self, request: Request) -> Response:
        """The answer to a picture; what is in the way of one is told with its status."""
        self.busy = {future for future in self.busy if not future.done()}
        if self.reading + len(self.busy) >= self.threads + WAITING:
            return self._no(503, "too many requests at once. Try again in a moment.", retry=True)
        self.reading += 1
        try:
            async with asyncio.timeout(self.read_s):
                body = await self._body(request)
        except TimeoutError:
            return self._no(408, f"the request did not arrive within {self.read_s:g} seconds.")
        except ClientDisconnect:
            return self._no(400, "the client left.")  # nobody hears it
        finally:
            self.reading -= 1
        if body is None:
            await self._linger(request)
            return self._no(413, f"the request has more than {self.inference.limits()['max_bytes']:,} bytes.")
        kind, accept = (request.headers.get(name, "") for name in ("content-type", "accept"))
        try:
            answer = self._within(self.inference.respond, body, kind, accept, self.model)
            status, text = await asyncio.wait_for(answer, self.answer_s)
        except TimeoutError:
            self.doubted = True
            return self._no(504, f"no answer within {self.answer_s:g} seconds.")
        self.doubted = self.doubted or status >= 500
        return Response(text, status, media_type=self.inference.JSON)

    async def refused(self, _: Request, error: Exception) -> Response:
        """An address or a method that there is not."""
        assert isinstance(error, HTTPException)
        paths = "GET /ping, POST /invocations, GET /execution-parameters"
        return Response(
            self.inference.refusal(f"{error.detail}. There is: {paths}."),
            error.status_code,
            error.headers,
            self.inference.JSON,
        )

    async def _body(self, request: Request) -> bytes | None:
        """The whole of a request's body, None where it is too large: no more than the limit is ever held."""
        most, parts, size = self.inference.limits()["max_bytes"], list[bytes](), 0
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > most:
            return None
        async for part in request.stream():
            size += len(part)
            if size > most:
                return None
            parts.append(part)
        return b"".join(parts)

    async def _linger(self, request: Request) -> None:
        try:
            async with asyncio.timeout(LINGER):
                async for _ in request.stream():
                    pass
        except (TimeoutError, ClientDisconnect, RuntimeError):
            pass  # the connection is closed either way

    def _within(self, work: Callable[..., Any], *given: Any) -> asyncio.Future[Any]:
        """What a function will return, run by one of the threads; one that takes too long keeps its thread busy.

        No coroutine: it counts as busy from this call on, not from when the loop comes to it.
        """
        future = self.pool.submit(work, *given)
        self.busy.add(future)
        return asyncio.wrap_future(future)

    def _no(self, status: int, message: str, *, retry: bool = False) -> Response:
        headers = {"Connection": "close"} | ({"Retry-After": "1"} if retry else {})
        return Response(self.inference.refusal(message), status, headers, self.inference.JSON)


def opened(folder: Path, **seconds: float) -> Served:
    """The bundle in a folder, once it has answered a picture; ValueError where it cannot."""
    inference = importlib.import_module("inference")
    try:
        model = inference.model_fn(str(folder))
    except ValueError:
        raise
    except Exception as error:  # onnxruntime has errors of its own, a missing file the system's
        raise ValueError(f"{folder}: the bundle does not open ({error}).") from error
    inference.prove(model)
    return Served(inference, model, **seconds)  # type: ignore[arg-type]  # those of the fields


def app(served: Served) -> Starlette:
    """The ASGI application."""
    routes = [
        Route("/ping", served.ping, methods=["GET"]),
        Route("/invocations", served.invocations, methods=["POST"]),
        Route("/execution-parameters", served.execution_parameters, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: served.refused})


def run(served: Served, listening: socket.socket) -> None:
    """Answer on a socket until SIGTERM or SIGINT; requests under way are answered first."""
    config = uvicorn.Config(
        app(served), http="h11", ws="none", lifespan="off", access_log=False, server_header=False, proxy_headers=False,
        log_level="warning", timeout_graceful_shutdown=int(STOP_S), limit_concurrency=1024,
    )  # fmt: skip
    server = uvicorn.Server(config)

    def stop(number: int, frame: Any) -> None:
        server.should_exit = True

    # uvicorn hands a signal on to what was there before; nothing more is to happen then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listening])


def main() -> int:
    """The container's process: 0 after SIGTERM, 1 where the bundle does not open."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        served = opened(Path(__file__).resolve().parents[1])
        port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", PORT))
        listening = socket.create_server(("0.0.0.0", port), backlog=512)  # noqa: S104 - a container's only way in
    except (ValueError, OSError) as error:
        log.error("%s", error)
        return 1
    log.info("serving on port %d", listening.getsockname()[1])
    run(served, listening)
    return 0


if __name__ == "__main__":
    sys.exit(main())
