"""Recognition of an image: the cards of a gallery that are most like it. There is no other implementation.

It needs numpy, opencv, pillow and a function that opens the network on the available runtime. So the same file runs
here, on a small device, in SageMaker's container and behind MLflow's ``pyfunc``. Where the gallery says which
proportions a card has, cards are detected in the image: the whole frame, each detection and their half turns are looked
up together, and the best score wins.
"""

import csv
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pokeflow.errors import PokeflowError
from pokeflow_vision import index, preprocessing, retrieval, views
from pokeflow_vision.index import Index
from pokeflow_vision.preprocessing import ImageError, Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PillowImage

    from pokeflow_vision.network import Network, Opener

    Pixels = np.ndarray | PillowImage
    Image = Path | bytes | bytearray | memoryview | Pixels

BATCH = 32
STEPS = ("decode", "detect", "preprocess", "network", "search")
"""Keys of ``Answer.milliseconds``, in the order of the steps."""


class MismatchError(PokeflowError):
    """Error for parts of a folder that belong to different models. A host with messages of its own reads ``part``.

    Args:
        message: The sentence for people.
        part: ``preprocessing``: the gallery has another spec than the model; ``dim``: its embeddings have another
            length than the network's; ``labels``: the labels list other cards than the gallery.
        found: Value of the gallery.
        expected: Value of the model.

    """

    def __init__(
        self, message: str, part: Literal["preprocessing", "dim", "labels"], actual: object = "", expected: object = ""
    ) -> None:
        super().__init__(message)
        self.part, self.found, self.expected = part, actual, expected


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of accepted images: bytes of an encoded image (None: no limit), pixels before decoding, Pillow's formats.

    MPO, which some phones write instead of JPEG, is accepted with JPEG. Decoders of other formats are never called.
    """

    max_bytes: int | None = 20_000_000
    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = ("JPEG", "PNG")


@dataclass(frozen=True, slots=True)
class Match:
    """A card of the gallery; ``score`` is the cosine between its embedding and the image's."""

    card_id: str
    name: str
    set: str
    number: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Matches, best first, equal scores in the gallery's order; and the duration of each of ``STEPS``.

    ``accepted`` is False if the best score is below the gallery's threshold, so that the picture most likely shows
    none of the cards; None if the gallery has no threshold. ``outline`` holds the corners of the card in the picture,
    from the card's upper left on, as (x, y) in pixels of a picture of ``size``; None if the whole frame matched best.
    """

    matches: tuple[Match, ...]
    milliseconds: Mapping[str, float]
    accepted: bool | None = None
    outline: tuple[tuple[float, float], ...] | None = None
    size: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain data for JSON, with durations rounded to 0.001 ms."""
        durations = {name: round(value, 3) for name, value in self.milliseconds.items()}
        outline = self.outline and [[round(x, 1), round(y, 1)] for x, y in self.outline]
        return {
            "matches": [asdict(match) for match in self.matches],
            "accepted": self.accepted,
            "outline": outline,
            "size": self.size and list(self.size),
            "milliseconds": durations,
        }


@dataclass(frozen=True, slots=True)
class Recognizer:
    """An opened model with its gallery; without a gallery (None) it computes embeddings but no matches.

    Its methods keep no state: threads may share an instance if the network's runtime allows it.
    """

    spec: Preprocessing
    network: "Network"
    gallery: Index | None
    limits: ImageLimits = field(default_factory=ImageLimits)

    def recognize(self, image: "Image", top: int = 5) -> tuple[Match, ...]:
        """Return the ``top`` cards most like an image, or all cards if there are fewer.

        Args:
            image: A file's path, an encoded image's bytes, uint8 H×W×3 RGB, or an image of Pillow.
            top: Number of cards, at least 1.

        Raises:
            ImageError: It is not an image, or exceeds the limits.
            PokeflowError: The network's embedding is not finite, or there is no gallery.

        """
        return self.answer(image, top).matches

    def answer(self, image: "Image", top: int = 5, name: str = "the picture") -> Answer:
        """Return the matches of an image, as ``recognize`` does, with the duration of each step.

        Errors use ``name`` for an image that is not a file.
        """
        marks = [time.perf_counter()]
        aspect = self.gallery.aspect if self.gallery else None
        picture = decode_image(image, self.limits, name, views.SIDE if aspect else None)
        marks.append(time.perf_counter())
        detections = views.detect(picture, aspect)
        marks.append(time.perf_counter())
        squares, outlines = views.render(picture, detections, self.spec, turned=aspect is not None)
        prepared = self.network.prepare(squares)
        marks.append(time.perf_counter())
        embeddings = self._embed_prepared(prepared)
        marks.append(time.perf_counter())
        matches, view = self._search_views(embeddings, top)
        marks.append(time.perf_counter())
        durations = ((end - start) * 1000 for start, end in pairwise(marks))
        threshold = self.gallery.threshold if self.gallery else None
        outline = outlines[view]
        return Answer(
            matches,
            dict(zip(STEPS, durations, strict=True)),
            None if threshold is None else matches[0].score >= threshold,
            None if outline is None else tuple((float(x), float(y)) for x, y in outline),
            _size(picture),
        )

    def recognize_batch(self, images: "Iterable[Image]", top: int = 5) -> list[tuple[Match, ...]]:
        """Return the matches of each image, in order.

        An ImageError names an image that is not a file by its number, counted from 1.
        """
        return [self.answer(image, top, f"picture {number}").matches for number, image in enumerate(images, 1)]

    def embed(self, images: "Iterable[Image]") -> "np.ndarray":
        """Return the network's embeddings of images, float32 N×dim, not scaled to length 1.

        Only one full-size image is in memory at a time: images are resized one by one, then batched.
        """
        import numpy as np

        decoded = (decode_image(image, self.limits, f"picture {i}") for i, image in enumerate(images, start=1))
        squares = (preprocessing.to_square([picture], self.spec)[0] for picture in decoded)
        parts = [np.empty((0, self.network.dim), np.float32)]
        parts += (self._embed_prepared(self.network.prepare(np.stack(batch))) for batch in _batches(squares))
        return np.concatenate(parts)

    def search(self, embedding: "np.ndarray", top: int) -> tuple[Match, ...]:
        """Return the ``top`` cards nearest by cosine to an embedding, a vector of dim values of any norm above 0."""
        return self._search_views(embedding[None], top)[0]

    def _search_views(self, embeddings: "np.ndarray", top: int) -> tuple[tuple[Match, ...], int]:
        """Return the ``top`` cards nearest to any of the views, V×dim, and the view that the best one was seen in."""
        if self.gallery is None:
            raise PokeflowError(
                "the recognizer has no gallery to search. Use embed instead, or open it with a gallery."
            )
        queries = retrieval.normalize_rows(embeddings)
        rows, scores = index.search(self.gallery.embeddings, queries, top)
        ranked = zip(rows, scores, strict=True)
        matches = tuple(Match(**self.gallery.card(int(row)), score=float(score)) for row, score in ranked)
        return matches, int((queries @ self.gallery.embeddings[rows[0]]).argmax())

    def _embed_prepared(self, prepared: Any) -> "np.ndarray":
        import numpy as np

        embeddings = np.asarray(self.network(prepared), np.float32)
        if not np.isfinite(embeddings).all():
            raise PokeflowError(
                "the network returns an embedding that is not finite for this picture. Train the model again."
            )
        return embeddings


def open_recognizer(
    model: Path,
    open_network: "Opener",
    *,
    gallery: Path | None,
    labels: Path | None = None,
    threads: int = 0,
    limits: ImageLimits | None = None,
    remedy: str = "Run the task that wrote it again.",
) -> Recognizer:
    """Open a model with its gallery, and check that they belong together.

    Args:
        model: Folder with the network and ``preprocessing.json``.
        open_network: Opens the network of that folder, for a preprocessing and a number of threads.
        gallery: Folder with ``index.npz``, or None.
        labels: A CSV file that must list the gallery's cards in the same order, or None.
        threads: Number of the network's threads; 0 uses every core.
        limits: Limits of accepted images; None for the defaults.
        remedy: Advice to people at the end of error messages.

    Raises:
        MismatchError: The parts belong to different models.
        PokeflowError: One of them is missing or damaged.

    """
    spec = preprocessing.read(model)
    gallery_index = index.read(gallery) if gallery else None
    if gallery and gallery_index:
        if gallery_index.preprocessing != spec.hash:
            file = gallery / index.FILE
            message = f"{file}: has preprocessing {gallery_index.preprocessing}, but the model has {spec.hash}."
            raise MismatchError(f"{message} {remedy}", "preprocessing", gallery_index.preprocessing, spec.hash)
        if labels:
            _require_labels(labels, gallery_index, remedy)
    network = open_network(model, spec, threads)
    if gallery and gallery_index and network.dim != (dim := gallery_index.embeddings.shape[1]):
        message = f"{gallery}: the network returns {network.dim} values, but the gallery has {dim}."
        raise MismatchError(f"{message} {remedy}", "dim", dim, network.dim)
    return Recognizer(spec, network, gallery_index, limits or ImageLimits())


def decode_image(image: "Image", limits: ImageLimits, name: str = "the picture", side: int | None = None) -> "Pixels":
    """Return an image as RGB pixels; an encoded one is checked before it is decoded, and turned upright.

    The size of an array or of an image of Pillow is not limited, because it is in memory already. A JPEG is decoded at
    a half, a quarter or an eighth of its size if its longer side stays at least ``side`` pixels.

    Raises:
        ImageError: It is not an image of an accepted format, or exceeds the limits.

    """
    import numpy as np
    from PIL import Image as Pillow

    if isinstance(image, Path):
        return _decode_file(image, limits, side)
    if isinstance(image, bytes | bytearray | memoryview):
        if limits.max_bytes is not None and len(image) > limits.max_bytes:
            raise ImageError(f"{name}: {len(image):,} bytes, the limit is {limits.max_bytes:,}.", "bytes")
        return preprocessing.decode_pillow(io.BytesIO(image), name, limits.formats, limits.max_pixels, side)
    if isinstance(image, Pillow.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(f"{name}: {pixels.dtype} of shape {pixels.shape}. Pass uint8 of shape H×W×3.", "format")
    return pixels


def _size(picture: "Pixels") -> tuple[int, int]:
    """Return the width and the height of a picture."""
    shape = getattr(picture, "shape", None)
    return (int(shape[1]), int(shape[0])) if shape else picture.size  # type: ignore[return-value]


def _decode_file(file: Path, limits: ImageLimits, side: int | None) -> "Pixels":
    try:
        # Reading a pipe or a device might never end.
        if not file.is_file():
            *first_formats, last = limits.formats
            accepted = f"{', '.join(first_formats)} or {last}" if first_formats else last
            raise ImageError(f"{file}: no such picture. Pass the path of a {accepted} file.", "missing")
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            if limits.max_bytes is not None and size > limits.max_bytes:
                raise ImageError(f"{file}: {size:,} bytes, the limit is {limits.max_bytes:,}.", "bytes")
            return preprocessing.decode_pillow(source, str(file), limits.formats, limits.max_pixels, side)
    except OSError as error:
        raise ImageError(f"{file}: cannot be read ({error.strerror}).", "missing") from error


def _batches(squares: "Iterator[np.ndarray]") -> "Iterator[list[np.ndarray]]":
    while batch := list(islice(squares, BATCH)):
        yield batch


def _require_labels(file: Path, gallery: Index, remedy: str) -> None:
    """Raise a PokeflowError for labels that are unreadable or differ from the gallery's cards in any row."""
    try:
        with file.open(newline="", encoding="utf-8") as source:
            labels = [tuple(row[column] for column in index.COLUMNS) for row in csv.DictReader(source)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise PokeflowError(f"{file}: cannot read the labels ({type(error).__name__}: {error}). {remedy}") from error
    if labels != [tuple(gallery.card(row)[column] for column in index.COLUMNS) for row in range(len(gallery.card_ids))]:
        raise MismatchError(f"{file}: lists other cards than {index.FILE}. {remedy}", "labels")
