"""Health check of an endpoint by a real request with a test image."""

import io
import json
import math
import time
from typing import Any

from pokeflow import PokeflowError, Record
from pokeflow_sagemaker import aws

SIDE = 240


def picture() -> bytes:
    """Return a synthetic card-shaped test image as PNG, with the same bytes on every call."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[0 : SIDE * 4 // 3, 0:SIDE]
    pixels = np.stack([rows * 255 // rows.max(), columns * 255 // columns.max(), (rows ^ columns) & 255], axis=-1)
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def measure_answer(name: str, region: str, bundle: Record) -> dict[str, float]:
    """Send a test image to an endpoint and measure the response time.

    Returns:
        ``answer_ms`` (milliseconds) and ``best_score`` (cosine of the best match).

    Raises:
        PokeflowError: If the response contains no valid matches, or is that of another bundle.

    """
    resource, body = f"endpoint {name}", picture()
    runtime = aws.client("sagemaker-runtime", region)
    began = time.monotonic()
    response = aws.ask(
        runtime.invoke_endpoint,
        resource,
        EndpointName=name,
        Body=body,
        ContentType="image/png",
        Accept="application/json",
    )
    text = response["Body"].read()
    seconds = time.monotonic() - began
    try:
        document: Any = json.loads(text)
        scores = [float(match["score"]) for match in document["matches"]]
        preprocessing = document["preprocessing"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        excerpt = aws.clean(text[:200].decode(errors="replace"))
        raise PokeflowError(f"{resource}: its response to a test image contains no matches: {excerpt!r}.") from error
    if not scores or not all(math.isfinite(score) for score in scores):
        raise PokeflowError(f"{resource}: its response to a test image has no matches, or scores that are not finite.")
    if preprocessing != bundle.facts.get("preprocessing"):
        raise PokeflowError(
            f"{resource}: its response has preprocessing {preprocessing}, but the bundle has "
            f"{bundle.facts.get('preprocessing')}: the endpoint serves another model."
        )
    return {"answer_ms": round(seconds * 1000, 1), "best_score": max(scores)}
