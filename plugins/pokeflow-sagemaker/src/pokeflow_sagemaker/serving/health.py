"""A real request to an endpoint: a picture in, matches out."""

import io
import json
import math
import time
from typing import Any

from pokeflow import PokeflowError, Record
from pokeflow_sagemaker import aws

SIDE = 240


def picture() -> bytes:
    """A card-shaped picture, drawn: the same bytes each time, and no card."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[0 : SIDE * 4 // 3, 0:SIDE]
    pixels = np.stack([rows * 255 // rows.max(), columns * 255 // columns.max(), (rows ^ columns) & 255], axis=-1)
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def measure_answer(name: str, region: str, bundle: Record) -> dict[str, float]:
    """Measure how long an endpoint takes to answer; PokeflowError unless the answer is one of this bundle's."""
    what, body = f"endpoint {name}", picture()
    runtime = aws.client("sagemaker-runtime", region)
    began = time.monotonic()
    answer = aws.ask(
        runtime.invoke_endpoint, what, EndpointName=name, Body=body, ContentType="image/png", Accept="application/json"
    )
    text = answer["Body"].read()
    seconds = time.monotonic() - began
    try:
        found: Any = json.loads(text)
        scores = [float(match["score"]) for match in found["matches"]]
        preprocessing = found["preprocessing"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        shown = aws.clean(text[:200].decode(errors="replace"))
        raise PokeflowError(f"{what}: answers a picture with what holds no matches: {shown!r}.") from error
    if not scores or not all(math.isfinite(score) for score in scores):
        raise PokeflowError(f"{what}: answers a picture without a match, or with scores that are no numbers.")
    if preprocessing != bundle.facts.get("preprocessing"):
        raise PokeflowError(
            f"{what}: answers with preprocessing {preprocessing}, the bundle has {bundle.facts.get('preprocessing')}: "
            "another model answers there."
        )
    return {"answer_ms": round(seconds * 1000, 1), "best_score": max(scores)}
