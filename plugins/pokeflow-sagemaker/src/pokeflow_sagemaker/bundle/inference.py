"""Inference functions that SageMaker calls to serve this bundle: they match an image of a card with the gallery.

A request is ``image/jpeg``, ``image/png``, or ``application/json`` with such an image in base64: ``{"image": "…"}``.
The whole image is taken as the card. The response is JSON: matches, best first, each with its cosine as ``score``.
An invalid request raises a ValueError that says why; ``respond`` turns it into the fitting HTTP status.
Requires numpy, opencv, pillow, onnxruntime, and the modules of pokeflow in the same folder, which do the recognition.
"""

import base64
import binascii
import io
import json
import logging
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from pokeflow.errors import PokeflowError
from pokeflow_vision.index import FILE as INDEX
from pokeflow_vision.index import UnreadableIndexError
from pokeflow_vision.onnx_network import OnnxNetwork, open_network
from pokeflow_vision.preprocessing import ImageError, Preprocessing
from pokeflow_vision.recognizer import ImageLimits, MismatchError, Recognizer, decode_image, open_recognizer

log = logging.getLogger(__name__)
LABELS = "labels.csv"
IMAGES = ("image/jpeg", "image/png")
JSON = "application/json"


class RequestError(ValueError):
    """An invalid request; ``status`` is the HTTP status code of the response."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Model:
    """An open bundle, and the digest of the model in it."""

    recognizer: Recognizer
    digest: str


def model_fn(model_dir: str) -> Model:
    """Open the bundle that was unpacked into a folder.

    Raises:
        ValueError: If a part cannot be read, or network, gallery and labels do not belong together.

    """
    folder = Path(model_dir)
    metadata = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    try:
        recognizer = open_recognizer(folder, _open_onnx, gallery=folder, labels=folder / LABELS)
    except UnreadableIndexError as error:
        raise ValueError(f"{INDEX}: not a readable gallery ({error.why}).") from error
    except MismatchError as error:
        messages = {
            "labels": f"{LABELS} and {INDEX} do not list the same cards.",
            "preprocessing": f"{INDEX} has preprocessing {error.found}, the network expects {error.expected}.",
            "dim": f"the network returns {error.expected} values, {INDEX} has {error.found}.",
        }
        raise ValueError(f"{folder}: {messages[error.part]}") from error
    except PokeflowError as error:
        raise ValueError(f"{folder}: the bundle cannot be opened ({error}).") from error
    return Model(recognizer, metadata["model"]["digest"])


def input_fn(request_body: Any, content_type: str) -> np.ndarray:
    """Decode the image of a request.

    Returns:
        Uint8 array of shape H×W×3, RGB, rotated upright.

    Raises:
        RequestError: If the content type, the size or the content of the request is not accepted.

    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in (*IMAGES, JSON):
        raise RequestError(f"content type {content_type!r} is not supported; send {', '.join(IMAGES)} or {JSON}.", 415)
    if not isinstance(request_body, str | bytes | bytearray):
        raise RequestError(f"the request's body is {type(request_body).__name__}, not bytes.")
    limit = limits()["max_bytes"]
    if len(request_body) > limit:
        raise RequestError(
            f"the request has {len(request_body):,} bytes, the limit is {limit:,}. Send a smaller image.", 413
        )
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    return _decode_bytes(_from_json(body) if kind == JSON else body)


def predict_fn(input_data: np.ndarray, model: Model) -> dict[str, Any]:
    """Return the cards most similar to an image.

    Args:
        input_data: Uint8 array of shape H×W×3, RGB.
        model: The open bundle.

    Returns:
        ``matches``, best first (of equal scores the earlier card first), and the digest of the ``model`` and the hash
        of its ``preprocessing``.

    """
    try:
        matches = model.recognizer.recognize(input_data, limits()["top"])
    except PokeflowError as error:
        raise ValueError(str(error)) from error
    preprocessing = model.recognizer.spec.hash
    return {"matches": list(map(asdict, matches)), "model": model.digest, "preprocessing": preprocessing}


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """Serialize the prediction as JSON; raise a RequestError (406) if the client does not accept JSON."""
    kinds = {kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")}
    if not kinds & {JSON, "application/*", "*/*"}:
        raise RequestError(f"accept {accept!r}: responses are {JSON} only. Accept it, or */*.", 406)
    return json.dumps(prediction, ensure_ascii=False, allow_nan=False)


def respond(body: bytes, content_type: str, accept: str, model: Model) -> tuple[int, str]:
    """Answer a request: decode, predict and serialize.

    Args:
        body: The request's body.
        content_type: Its content type.
        accept: Content types that the client accepts.
        model: The open bundle.

    Returns:
        HTTP status and JSON body; the body of an error is ``{"error": …}``.

    """
    try:
        return 200, output_fn(predict_fn(input_fn(body, content_type), model), accept)
    except RequestError as error:
        return error.status, refusal(str(error))
    except Exception as error:  # a server has to send a response in any case
        log.exception("request failed")
        return 500, refusal(f"the model failed ({type(error).__name__}).")


def refusal(message: str) -> str:
    """Return the JSON body of an error response."""
    return json.dumps({"error": message}, ensure_ascii=False)


def prove(model: Model) -> None:
    """Check that the model answers a test image, as a client would send it; raise a ValueError otherwise."""
    picture, size = io.BytesIO(), model.recognizer.spec.size
    Image.new("RGB", (size, size), (96, 128, 160)).save(picture, "PNG")
    status, response = respond(picture.getvalue(), "image/png", JSON, model)
    if status != 200:
        raise ValueError(f"the model fails on a test image: {json.loads(response)['error']}")


@cache
def limits() -> dict[str, int]:
    """Return ``top``, ``max_bytes`` and ``max_pixels`` from ``limits.json`` in the folder of this file."""
    values: dict[str, int] = json.loads(Path(__file__).with_name("limits.json").read_text(encoding="utf-8"))
    return values


def _open_onnx(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    return open_network(onnxruntime, folder, spec, threads)


def _from_json(body: bytes) -> bytes:
    try:
        encoded = json.loads(body)["image"]
        return base64.b64decode(encoded, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise RequestError(
            f'the request is not JSON of the form {{"image": "<base64>"}} ({type(error).__name__}).'
        ) from error


def _decode_bytes(body: bytes) -> np.ndarray:
    bounds = ImageLimits(None, limits()["max_pixels"])  # the size in bytes is checked when a request arrives
    try:
        return np.asarray(decode_image(body, bounds))
    except ImageError as error:
        cause = error.__cause__
        if error.size:
            width, height = error.size
            size = f"{width}×{height} pixels, the limit is {bounds.max_pixels:,} in total. Send a smaller one."
            raise RequestError(f"the image has {size}", 413) from error
        if error.fault == "damaged":
            message = (
                f"the image is damaged or truncated ({type(cause).__name__}: {cause}). Send an intact JPEG or PNG."
            )
            raise RequestError(message) from error
        raise RequestError(
            f"the request contains no readable JPEG or PNG ({type(cause).__name__}). Send one."
        ) from error
