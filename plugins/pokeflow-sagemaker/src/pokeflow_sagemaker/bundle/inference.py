"""What SageMaker calls to serve this bundle: a picture of a card in, the cards most like it out.

A request is ``image/jpeg``, ``image/png``, or ``application/json`` with the same in base64: ``{"image": "…"}``.
The whole frame is taken for the card. The answer is JSON: matches, best first, each with its cosine as ``score``.
What is wrong with a request is a ValueError that says so; ``respond`` gives it the status that HTTP has for it.
Needs numpy, pillow, onnxruntime, and the modules of pokeflow that lie beside it; these recognise.
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


class Refused(ValueError):  # noqa: N818 - an answer to a client, not a mishap of this program
    """What is wrong with a request; ``status`` is HTTP's number for it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Model:
    """An opened bundle, and the digest of the model in it."""

    recognizer: Recognizer
    digest: str


def model_fn(model_dir: str) -> Model:
    """Open the bundle that was unpacked into a folder; ValueError where its parts are not of one piece."""
    folder = Path(model_dir)
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    try:
        recognizer = open_recognizer(folder, _opened, gallery=folder, labels=folder / LABELS)
    except UnreadableIndexError as error:
        raise ValueError(f"{INDEX}: not a readable gallery ({error.why}).") from error
    except MismatchError as error:
        said = {
            "labels": f"{LABELS} and {INDEX} do not list the same cards.",
            "preprocessing": f"{INDEX} is of preprocessing {error.found}, the network of {error.expected}.",
            "dim": f"the network gives {error.expected} values, {INDEX} has {error.found}.",
        }
        raise ValueError(f"{folder}: {said[error.part]}") from error
    except PokeflowError as error:
        raise ValueError(f"{folder}: the bundle does not open ({error}).") from error
    return Model(recognizer, about["model"]["digest"])


def input_fn(request_body: Any, content_type: str) -> np.ndarray:
    """The picture of a request, uint8 H×W×3 RGB and upright."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in (*IMAGES, JSON):
        raise Refused(f"content type {content_type!r} is not taken; send {', '.join(IMAGES)} or {JSON}.", 415)
    if not isinstance(request_body, str | bytes | bytearray):
        raise Refused(f"the request's body is {type(request_body).__name__}, not bytes.")
    most = limits()["max_bytes"]
    if len(request_body) > most:
        raise Refused(f"the request has {len(request_body):,} bytes, the limit is {most:,}.", 413)
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    return _decoded(_from_json(body) if kind == JSON else body)


def predict_fn(input_data: np.ndarray, model: Model) -> dict[str, Any]:
    """The cards most like a picture (uint8 H×W×3 RGB), best first; equal scores go to the earlier card."""
    try:
        matches = model.recognizer.recognize(input_data, limits()["top"])
    except PokeflowError as error:
        raise ValueError(str(error)) from error
    preprocessing = model.recognizer.spec.hash
    return {"matches": list(map(asdict, matches)), "model": model.digest, "preprocessing": preprocessing}


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """The answer as JSON; ValueError where the client takes no JSON."""
    kinds = {kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")}
    if not kinds & {JSON, "application/*", "*/*"}:
        raise Refused(f"accept {accept!r}: answers are {JSON} only.", 406)
    return json.dumps(prediction, ensure_ascii=False, allow_nan=False)


def respond(body: bytes, content_type: str, accept: str, model: Model) -> tuple[int, str]:
    """HTTP's status and the JSON that answer a request: the four functions in a row; a refusal is ``{"error": …}``."""
    try:
        return 200, output_fn(predict_fn(input_fn(body, content_type), model), accept)
    except Refused as error:
        return error.status, refusal(str(error))
    except Exception as error:  # a server answers whatever happens
        log.exception("a request could not be answered")
        return 500, refusal(f"the model could not answer ({type(error).__name__}).")


def refusal(message: str) -> str:
    """The JSON that says why there is no other answer."""
    return json.dumps({"error": message}, ensure_ascii=False)


def prove(model: Model) -> None:
    """Have the model answer a picture, as a client would; ValueError where it cannot."""
    picture, size = io.BytesIO(), model.recognizer.spec.size
    Image.new("RGB", (size, size), (96, 128, 160)).save(picture, "PNG")
    status, answer = respond(picture.getvalue(), "image/png", JSON, model)
    if status != 200:
        raise ValueError(f"the model does not answer a plain picture: {json.loads(answer)['error']}")


@cache
def limits() -> dict[str, int]:
    """``top``, ``max_bytes`` and ``max_pixels``, from the file beside this one."""
    found: dict[str, int] = json.loads(Path(__file__).with_name("limits.json").read_text(encoding="utf-8"))
    return found


def _opened(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    return open_network(onnxruntime, folder, spec, threads)


def _from_json(body: bytes) -> bytes:
    try:
        encoded = json.loads(body)["image"]
        return base64.b64decode(encoded, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise Refused(
            f'the request is no JSON of the form {{"image": "<base64>"}} ({type(error).__name__}).'
        ) from error


def _decoded(body: bytes) -> np.ndarray:
    most = ImageLimits(None, limits()["max_pixels"])  # bytes are bounded where they come in
    try:
        return np.asarray(decode_image(body, most))
    except ImageError as error:
        cause = error.__cause__
        if error.size:
            width, height = error.size
            said = f"{width}×{height} pixels, the limit is {most.max_pixels:,} in all."
            raise Refused(f"the picture has {said}", 413) from error
        if error.fault == "damaged":
            raise Refused(f"the picture is damaged or cut short ({type(cause).__name__}: {cause}).") from error
        raise Refused(f"the request holds no readable JPEG or PNG ({type(cause).__name__}).") from error
