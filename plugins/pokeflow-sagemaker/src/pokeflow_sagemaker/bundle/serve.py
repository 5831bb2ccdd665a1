"""HTTP server of this bundle that fulfils SageMaker's contract for containers: ``python code/serve.py``.

GET  /ping                  200 with an empty body: the model is open, and has answered a test image
POST /invocations           image in, matches out: inference.py
GET  /execution-parameters  the load that a batch transform job may put on one container

The contract: port 8080, a response to a ping within 2 seconds and to a request within 60, SIGKILL 30 seconds after
SIGTERM.
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
"""Timeouts in seconds: to read a request, to answer it, and to finish the requests in progress at SIGTERM."""
MAX_WAITING = 16
"""Requests that may wait in addition to those being answered; each holds an image in memory."""
LINGER = 0.5
"""Seconds to keep reading from a refused client: it would otherwise see a broken pipe instead of the response."""


@dataclass
class OpenModel:
    """An open model, its thread pool, and its health.

    Attributes:
        inference: The module ``inference``.
        model: The open model.
        threads: Number of threads that run the model.
        read_s: Timeout in seconds to read a request.
        answer_s: Timeout in seconds to answer it.
        reading: Number of requests being read.
        doubted: True after a failed response, until the model has answered a test image.
        busy: The calls that run or wait in the pool.
        pool: The threads.

    """

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
        """Return 200 if the model is healthy, else 503; after a failed response the model is tested again."""
        if self.doubted:
            try:
                await asyncio.wait_for(self._submit(self.inference.prove, self.model), 1.5)
            except (ValueError, TimeoutError) as error:
                return self._refuse(503, f"the model is unhealthy: {error}")
            self.doubted = False
        return Response(status_code=200)

    async def execution_parameters(self, _: Request) -> Response:
        """Return the load that one container takes from a batch transform job.

        https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
        """
        payload = min(100, max(1, math.ceil(self.inference.limits()["max_bytes"] / 1e6)))
        at_once = max(1, min(self.threads, 100 // payload))  # SageMaker limits their product to 100 MB
        strategy = {"BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": payload}
        return JSONResponse({"MaxConcurrentTransforms": at_once, **strategy})

    async def invocations(self, request: Request) -> Response:
        """Answer a request for inference; errors get a message and the fitting HTTP status."""
        self.busy = {future for future in self.busy if not future.done()}
        if self.reading + len(self.busy) >= self.threads + MAX_WAITING:
            return self._refuse(503, "too many concurrent requests. Try again later.", retry=True)
        self.reading += 1
        try:
            async with asyncio.timeout(self.read_s):
                body = await self._body(request)
        except TimeoutError:
            return self._refuse(408, f"the request did not arrive within {self.read_s:g} seconds.")
        except ClientDisconnect:
            return self._refuse(400, "the client disconnected.")  # not delivered, but the handler has to return one
        finally:
            self.reading -= 1
        if body is None:
            await self._linger(request)
            return self._refuse(413, f"the request has more than {self.inference.limits()['max_bytes']:,} bytes.")
        kind, accept = (request.headers.get(name, "") for name in ("content-type", "accept"))
        try:
            response = self._submit(self.inference.respond, body, kind, accept, self.model)
            status, text = await asyncio.wait_for(response, self.answer_s)
        except TimeoutError:
            self.doubted = True
            return self._refuse(504, f"no response within {self.answer_s:g} seconds.")
        self.doubted = self.doubted or status >= 500
        return Response(text, status, media_type=self.inference.JSON)

    async def answer_http_error(self, _: Request, error: Exception) -> Response:
        """Answer a request for an unknown path or method."""
        assert isinstance(error, HTTPException)
        paths = "GET /ping, POST /invocations, GET /execution-parameters"
        return Response(
            self.inference.refusal(f"{error.detail}. Known: {paths}."),
            error.status_code,
            error.headers,
            self.inference.JSON,
        )

    async def _body(self, request: Request) -> bytes | None:
        """Read a request's body; return None if it is too large, without ever holding more than the limit."""
        limit, parts, size = self.inference.limits()["max_bytes"], list[bytes](), 0
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            return None
        async for part in request.stream():
            size += len(part)
            if size > limit:
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

    def _submit(self, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Submit a function to the thread pool and return its future; a call that times out keeps its thread busy.

        This is not a coroutine, so that the call counts as busy at once and not only when the event loop runs it.
        """
        future = self.pool.submit(work, *args)
        self.busy.add(future)
        return asyncio.wrap_future(future)

    def _refuse(self, status: int, message: str, *, retry: bool = False) -> Response:
        headers = {"Connection": "close"} | ({"Retry-After": "1"} if retry else {})
        return Response(self.inference.refusal(message), status, headers, self.inference.JSON)


def open_model(folder: Path, **seconds: float) -> OpenModel:
    """Open the bundle in a folder and have it answer a test image.

    Args:
        folder: The unpacked bundle.
        seconds: ``read_s`` and ``answer_s`` of ``OpenModel``.

    Raises:
        ValueError: If the bundle does not open or does not answer.

    """
    inference = importlib.import_module("inference")
    try:
        model = inference.model_fn(str(folder))
    except ValueError:
        raise
    except Exception as error:  # onnxruntime has its own exceptions; a missing file is an OSError
        raise ValueError(f"{folder}: the bundle cannot be opened ({error}).") from error
    inference.prove(model)
    return OpenModel(inference, model, **seconds)  # type: ignore[arg-type]  # only fields that are seconds


def app(model: OpenModel) -> Starlette:
    """Return the ASGI application."""
    routes = [
        Route("/ping", model.ping, methods=["GET"]),
        Route("/invocations", model.invocations, methods=["POST"]),
        Route("/execution-parameters", model.execution_parameters, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: model.answer_http_error})


def run(model: OpenModel, listener: socket.socket) -> None:
    """Serve on a socket until SIGTERM or SIGINT; requests in progress are answered first."""
    config = uvicorn.Config(
        app(model), http="h11", ws="none", lifespan="off", access_log=False, server_header=False, proxy_headers=False,
        log_level="warning", timeout_graceful_shutdown=int(STOP_S), limit_concurrency=1024,
    )  # fmt: skip
    server = uvicorn.Server(config)

    def stop(number: int, frame: Any) -> None:
        server.should_exit = True

    # uvicorn forwards a signal to the handler that was set before its own; that one has nothing more to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listener])


def main() -> int:
    """Run the container's process; return 0 after SIGTERM, 1 if the bundle or the port cannot be opened."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        model = open_model(Path(__file__).resolve().parents[1])
        port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", PORT))
        listener = socket.create_server(("0.0.0.0", port), backlog=512)  # noqa: S104 - SageMaker connects from outside the container
    except (ValueError, OSError) as error:
        log.error("%s", error)
        return 1
    log.info("serving on port %d", listener.getsockname()[1])
    run(model, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
