"""The bundle as Ray Serve runs it, in SageMaker's containers of that name: the functions of ``inference.py``.

Such a container installs ``code/requirements.txt``, puts the bundle and its ``code/`` on Python's path, runs
``serve run config.yaml``, and passes ``/invocations`` on to it as ``/``: body, content type and accept.
https://github.com/aws/deep-learning-containers, docs/ray/deployment/sagemaker.md and scripts/docker/ray.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import inference  # type: ignore[import-not-found]  # from code/, which is on the path there
from ray import serve  # type: ignore[import-not-found]  # the container's own
from starlette.responses import Response


class Recogniser:
    """An opened bundle. Ray sends requests once it is made, which takes an answered picture."""

    def __init__(self) -> None:
        self.model = inference.model_fn(os.environ.get("SM_MODEL_DIR", str(Path(__file__).parent)))
        inference.prove(self.model)

    async def __call__(self, request: Any) -> Response:
        """The answer to a request, as ``respond`` gives it."""
        kind, accept = (request.headers.get(name, "") for name in ("content-type", "accept"))
        body = await request.body()
        status, text = await asyncio.to_thread(inference.respond, body, kind, accept, self.model)
        return Response(text, status, media_type=inference.JSON)

    def check_health(self) -> None:
        """What Ray asks now and then; it replaces what raises here."""
        inference.prove(self.model)


app = serve.deployment(Recogniser).bind()
