"""Recognition: a picture in, the cards most like it out, with what each step took."""

import csv
import importlib.util
import io
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime import bundle as bundles
from pokeflow_edge.runtime.bundle import COLUMNS, MEND, Bundle, Limits
from pokeflow_vision import index, preprocessing, retrieval
from pokeflow_vision.index import Index
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FORMATS = ("JPEG", "PNG")
"""Pillow's names; what some phones make of a JPEG, MPO, comes with it. Its other decoders stay out of reach."""
STEPS = ("decode", "preprocess", "network", "search")
_ADAPTER = "pokeflow_edge_adapter"


class Refused(PokeflowError):  # noqa: N818 - an answer to a client, not a mishap of this program
    """A picture that is not taken; ``status`` is HTTP's number for why."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """Cards, best first, each with its cosine as ``score``; and milliseconds of each step."""

    matches: tuple[dict[str, Any], ...]
    milliseconds: Mapping[str, float]

    @property
    def told(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"matches": self.matches, "milliseconds": {k: round(v, 3) for k, v in self.milliseconds.items()}}


@dataclass(frozen=True, slots=True)
class Recognizer:
    """An opened bundle; one picture at a time, for the network is not shared between threads."""

    bundle: Bundle
    spec: Preprocessing
    network: Any
    gallery: Index
    limits: Limits

    def read(self, file: Path) -> Answer:
        """The answer to a picture file; Refused where it is none."""
        try:
            # A pipe or a device could be read for ever.
            if not file.is_file():
                raise Refused(f"{file}: no such picture. Give the path of a JPEG or PNG file.", 404)
            with file.open("rb") as source:
                data = source.read(self.limits.max_bytes + 1)
        except OSError as error:
            raise Refused(f"{file}: cannot be read ({error.strerror}).", 404) from error
        return self.answer(data, str(file))

    def answer(self, data: bytes, name: str = "the picture") -> Answer:
        """The answer to the bytes of a JPEG or PNG; Refused where they are none, or too many."""
        began = time.perf_counter()
        picture = _decoded(data, name, self.limits)
        return self.recognize(picture, (time.perf_counter() - began) * 1000)

    def recognize(self, picture: "np.ndarray | Image.Image", decode: float = 0.0) -> Answer:
        """The answer to uint8 H×W×3 RGB, or to Pillow's RGB, whose whole frame is taken for the card."""
        import numpy as np

        marks = [time.perf_counter()]
        prepared = self.network.prepare(preprocessing.to_square([picture], self.spec))
        marks.append(time.perf_counter())
        embedding = np.asarray(self.network(prepared), np.float32)
        marks.append(time.perf_counter())
        if not np.isfinite(embedding).all():
            raise PokeflowError("the network gives no finite embedding of this picture. Compile the model again.")
        query = retrieval.normalized(embedding)[0]
        rows, scores = index.search(self.gallery.embeddings, query, self.limits.top)
        matches = tuple(
            {**self.gallery.card(int(row)), "score": float(score)} for row, score in zip(rows, scores, strict=True)
        )
        marks.append(time.perf_counter())
        took = (decode, *((end - start) * 1000 for start, end in pairwise(marks)))
        return Answer(matches, dict(zip(STEPS, took, strict=True)))

    def prove(self) -> None:
        """Give the embeddings that the bundle's self-test states, and answer a drawn picture as a client would ask.

        PokeflowError where they differ: kernels of another processor round otherwise, and no more than that.
        """
        from PIL import Image

        about = self.bundle.about["selftest"]
        squares, stated = _selftest(self.bundle.folder / about["file"], self.spec.size, self.network.dim)
        for square, expected in zip(squares, stated, strict=True):
            cosine = float(retrieval.normalized(self.network(self.network.prepare(square[None])))[0] @ expected)
            if not cosine >= about["cosine"]:
                raise PokeflowError(
                    f"{self.bundle.folder}: the model does not give what it gave when it was packed (cosine "
                    f"{cosine:.4f}, at least {about['cosine']} is expected). Install another version of "
                    f"{', '.join(self.bundle.about['requires']) or 'the runtime of its target'}, or of the bundle."
                )
        drawn = io.BytesIO()
        Image.new("RGB", (self.spec.size, self.spec.size), (96, 128, 160)).save(drawn, "PNG")
        self.answer(drawn.getvalue())


def opened(folder: Path, threads: int = 0, **limits: int | None) -> Recognizer:
    """The recogniser of an unpacked bundle, once it has proved itself; PokeflowError where it cannot.

    ``threads`` are the network's, 0 is every core; ``limits`` other than None stand in for the bundle's.
    """
    bundle = bundles.checked(folder)
    model = folder / bundles.MODEL
    spec = preprocessing.read(model)
    gallery = index.read(folder)
    for name, found in ((index.FILE, gallery.preprocessing), (bundles.ABOUT, bundle.about["preprocessing"])):
        if found != spec.hash:
            raise PokeflowError(f"{folder / name}: is of preprocessing {found}, the model of {spec.hash}. {MEND}")
    _require_labels(folder / bundles.LABELS, gallery)
    network = _adapter(bundle).opened(model, spec, threads)
    if network.dim != gallery.embeddings.shape[1]:
        raise PokeflowError(
            f"{folder}: the network gives {network.dim} values, the gallery has {gallery.embeddings.shape[1]}. {MEND}"
        )
    own = {name: value for name, value in limits.items() if value is not None}
    recognizer = Recognizer(bundle, spec, network, gallery, replace(bundle.limits, **own))
    recognizer.prove()
    return recognizer


def _selftest(file: Path, size: int, dim: int) -> "tuple[np.ndarray, np.ndarray]":
    """Squares uint8 n×size×size×3 and embeddings float32 n×dim; PokeflowError where the file holds none."""
    try:
        squares, stated = index.arrays(file, ("squares", "embeddings")).values()
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{file}: not a readable self-test ({error}). {MEND}") from error
    count = squares.shape[0] if squares.ndim else 0
    wanted = (("uint8", (count, size, size, 3)), ("float32", (count, dim)))
    if not count or wanted != tuple((str(part.dtype), part.shape) for part in (squares, stated)):
        raise PokeflowError(f"{file}: holds {squares.dtype}{squares.shape}, {stated.dtype}{stated.shape}. {MEND}")
    return squares, retrieval.normalized(stated)


def _adapter(bundle: Bundle) -> ModuleType:
    """The very file whose checksum was checked: a package of that name elsewhere on the device is not asked."""
    spec = importlib.util.spec_from_file_location(_ADAPTER, bundle.adapter)
    assert spec is not None  # it ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_ADAPTER] = module  # where dataclasses look for the module of their class
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        needed = ", ".join(bundle.about["requires"]) or "the runtime of its target"
        raise PokeflowError(f"{bundle.adapter}: does not load ({error}). Install {needed}.") from error
    except (Exception, SystemExit) as error:
        raise PokeflowError(f"{bundle.adapter}: does not load ({type(error).__name__}: {error}). {MEND}") from error
    if not callable(getattr(module, "opened", None)):
        raise PokeflowError(f"{bundle.adapter}: has no function that opens a model. {MEND}")
    return module


def _require_labels(file: Path, gallery: Index) -> None:
    """Refuse labels that are not those of the gallery, row by row."""
    try:
        with file.open(newline="", encoding="utf-8") as source:
            labels = [tuple(row[column] for column in COLUMNS) for row in csv.DictReader(source)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise PokeflowError(f"{file}: not readable labels ({type(error).__name__}: {error}). {MEND}") from error
    if labels != [tuple(gallery.card(row)[column] for column in COLUMNS) for row in range(len(gallery.card_ids))]:
        raise PokeflowError(f"{file}: lists other cards than {index.FILE}. {MEND}")


def _decoded(data: bytes, name: str, limits: Limits) -> "Image.Image":
    if len(data) > limits.max_bytes:
        raise Refused(f"{name}: has more than {limits.max_bytes:,} bytes.", 413)
    if _pixels(data) > limits.max_pixels:
        raise Refused(f"{name}: has more than {limits.max_pixels:,} pixels. Make it smaller.", 413)
    try:
        return preprocessing.decoded(io.BytesIO(data), name, FORMATS, limits.max_pixels)
    except PokeflowError as error:
        raise Refused(str(error), 422) from error


def _pixels(data: bytes) -> float:
    """What a picture's head says it has; 0 where it has no head, which decoding will tell."""
    from PIL import Image

    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(data), formats=FORMATS) as image,
        ):
            return image.width * image.height
    except Image.DecompressionBombError:
        return float("inf")
    except Exception:  # noqa: BLE001 - a damaged file makes decoders fail in every way there is
        return 0
