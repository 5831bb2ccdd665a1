"""What SageMaker calls to serve this bundle: a picture of a card in, the cards most like it out.

A request is ``image/jpeg``, ``image/png``, or ``application/json`` with the same in base64: ``{"image": "…"}``.
The whole frame is taken for the card. The answer is JSON: matches, best first, each with its cosine as ``score``.
What is wrong with a request is a ValueError that says so; ``respond`` gives it the status that HTTP has for it.
Needs numpy, pillow and onnxruntime, nothing else.
"""

import base64
import binascii
import csv
import hashlib
import io
import json
import logging
import warnings
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

log = logging.getLogger(__name__)
FORMATS = ("JPEG", "PNG")
"""Pillow's names; what some phones make of a JPEG, MPO, comes with it. Its other decoders stay out of reach."""
IMAGES = ("image/jpeg", "image/png")
JSON = "application/json"
ARRAYS = ("embeddings", "card_ids", "preprocessing")


class Refused(ValueError):  # noqa: N818 - an answer to a client, not a mishap of this program
    """What is wrong with a request; ``status`` is HTTP's number for it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Model:
    """An opened bundle: network, preprocessing, and a gallery of N cards with embeddings N×D of length 1."""

    session: Any
    size: int
    mean: np.ndarray
    std: np.ndarray
    embeddings: np.ndarray
    cards: tuple[dict[str, str], ...]
    preprocessing: str
    digest: str


def model_fn(model_dir: str) -> Model:
    """Open the bundle that was unpacked into a folder; ValueError where its parts are not of one piece."""
    folder = Path(model_dir)
    spec = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    gallery = read_index(folder / "index.npz")
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as source:
        cards = tuple(csv.DictReader(source))
    if [card["card_id"] for card in cards] != gallery["card_ids"].tolist():
        raise ValueError(f"{folder}: labels.csv and index.npz do not list the same cards.")
    stated = _spec_hash(spec)
    for name, found in (("preprocessing.json", spec["hash"]), ("index.npz", str(gallery["preprocessing"]))):
        if found != stated:
            raise ValueError(f"{folder}: {name} is of preprocessing {found}, its values give {stated}.")
    session = _opened(folder / "model.onnx")
    dim = session.get_outputs()[0].shape[1]
    if isinstance(dim, int) and dim != gallery["embeddings"].shape[1]:
        raise ValueError(f"{folder}: the network gives {dim} values, index.npz has {gallery['embeddings'].shape[1]}.")
    mean, std = (np.asarray(spec[name], np.float32) for name in ("mean", "std"))
    return Model(session, int(spec["size"]), mean, std, gallery["embeddings"], cards, stated, about["model"]["digest"])


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
    (embedding,) = model.session.run(["embedding"], {"image": prepared(input_data, model)})
    if not np.isfinite(embedding).all():
        raise ValueError("the network gives no finite embedding of this picture.")
    query = np.asarray(embedding[0], np.float32)
    query = query / max(np.linalg.norm(query), np.finfo(np.float32).tiny)
    similarity = model.embeddings @ query
    k = min(limits()["top"], len(similarity))
    candidates = np.flatnonzero(similarity >= np.partition(similarity, -k)[-k])
    rows = candidates[np.argsort(-similarity[candidates], kind="stable")][:k]
    matches = [{**model.cards[row], "score": float(similarity[row])} for row in rows]
    return {"matches": matches, "model": model.digest, "preprocessing": model.preprocessing}


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
    picture = io.BytesIO()
    Image.new("RGB", (model.size, model.size), (96, 128, 160)).save(picture, "PNG")
    status, answer = respond(picture.getvalue(), "image/png", JSON, model)
    if status != 200:
        raise ValueError(f"the model does not answer a plain picture: {json.loads(answer)['error']}")


def prepared(picture: np.ndarray, model: Model) -> np.ndarray:
    """The network's input, float32 1×3×size×size, to the bit as the model was trained and measured with."""
    square = (model.size, model.size)
    image = Image.fromarray(picture)
    if image.size != square:
        image = image.resize(square, Image.Resampling.BILINEAR)
    scaled = np.asarray(image)[None].astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((scaled - model.mean) / model.std).transpose(0, 3, 1, 2))


@cache
def limits() -> dict[str, int]:
    """``top``, ``max_bytes`` and ``max_pixels``, from the file beside this one."""
    found: dict[str, int] = json.loads(Path(__file__).with_name("limits.json").read_text(encoding="utf-8"))
    return found


def read_index(file: Path) -> dict[str, np.ndarray]:
    """The gallery's arrays; ValueError where it is damaged, or of another kind."""
    try:
        with zipfile.ZipFile(file) as archive:
            # What is stored as it is cannot unfold into more than the file's own size.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        # allow_pickle=False: an array file must never be able to run code.
        with np.load(file, allow_pickle=False) as parts:
            arrays = {name: np.asarray(parts[name]) for name in ARRAYS}
        embeddings, card_ids = arrays["embeddings"], arrays["card_ids"]
        if embeddings.ndim != 2 or embeddings.dtype != np.float32 or not len(embeddings):
            raise ValueError(f"embeddings are {embeddings.dtype}{embeddings.shape}, not float32 N×D")
        if card_ids.shape != (len(embeddings),) or not np.isfinite(embeddings).all():
            raise ValueError("its cards and embeddings do not fit together")
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file.name}: not a readable gallery ({error}).") from error
    return arrays


def _spec_hash(spec: dict[str, Any]) -> str:
    values = {"size": int(spec["size"]), "mean": [*map(float, spec["mean"])], "std": [*map(float, spec["std"])]}
    text = json.dumps({"algorithm": "pillow-bilinear-antialias", **values}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _opened(file: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about speed
    # Spinning threads would slow the server's own.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _from_json(body: bytes) -> bytes:
    try:
        encoded = json.loads(body)["image"]
        return base64.b64decode(encoded, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise Refused(
            f'the request is no JSON of the form {{"image": "<base64>"}} ({type(error).__name__}).'
        ) from error


def _decoded(body: bytes) -> np.ndarray:
    most = limits()["max_pixels"]
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; the limit here is told as an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Exception as error:  # a damaged file makes decoders fail in every way there is
        raise Refused(f"the request holds no readable JPEG or PNG ({type(error).__name__}).") from error
    if image.width * image.height > most:
        raise Refused(f"the picture has {image.width}×{image.height} pixels, the limit is {most:,} in all.", 413)
    try:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # as above
        raise Refused(f"the picture is damaged or cut short ({type(error).__name__}: {error}).") from error
