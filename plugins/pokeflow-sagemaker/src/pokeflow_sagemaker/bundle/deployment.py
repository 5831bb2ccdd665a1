"""Ray Serve deployment of the bundle, for AWS's Ray Serve containers; it calls the functions of ``inference.py``.

Such a container installs ``code/requirements.txt``, adds the bundle and its ``code/`` to Python's path, runs
``serve run config.yaml``, and forwards ``/invocations`` to it as ``/``: body, content type and accept.
https://github.com/aws/deep-learning-containers, docs/ray/deployment/sagemaker.md and scripts/docker/ray.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import inference  # type: ignore[import-not-found]  # from code/, which is on the container's path
from ray import serve  # type: ignore[import-not-found]  # installed in the container
from starlette.responses import Response


class Recognizer:
    """An open bundle. Ray sends requests only after the constructor, which has the model answer a test image."""

    def __init__(self) -> None:
        self.model = inference.model_fn(os.environ.get("SM_MODEL_DIR", str(Path(__file__).parent)))
        inference.prove(self.model)

    async def __call__(self, request: Any) -> Response:
        """Return the response of ``inference.respond`` to a request."""
        kind, accept = (request.headers.get(name, "") for name in ("content-type", "accept"))
        body = await request.body()
        status, text = await asyncio.to_thread(inference.respond, body, kind, accept, self.model)
        return Response(text, status, media_type=inference.JSON)

    def check_health(self) -> None:
        """Check that the model answers a test image; Ray calls this periodically and replaces a replica that raises."""
        inference.prove(self.model)


app = serve.deployment(Recognizer).bind()
