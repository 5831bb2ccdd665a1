"""Recognition of an image: the cards of a gallery that are most like it. There is no other implementation.

It needs numpy, pillow and a function that opens the network on the available runtime. So the same file runs here, on a
small device, in SageMaker's container and behind MLflow's ``pyfunc``. The whole frame of an image is taken for the
card.
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
from pokeflow_vision import index, preprocessing, retrieval
from pokeflow_vision.index import Index
from pokeflow_vision.preprocessing import ImageError, Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PillowImage

    from pokeflow_vision.network import Network, Opener

    Pixels = np.ndarray | PillowImage
    Image = Path | bytes | bytearray | memoryview | Pixels

BATCH = 32
STEPS = ("decode", "preprocess", "network", "search")
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
    """Matches, best first, equal scores in the gallery's order; and the duration of each of ``STEPS``."""

    matches: tuple[Match, ...]
    milliseconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain data for JSON, with durations rounded to 0.001 ms."""
        durations = {name: round(value, 3) for name, value in self.milliseconds.items()}
        return {"matches": [asdict(match) for match in self.matches], "milliseconds": durations}


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
        picture = decode_image(image, self.limits, name)
        marks.append(time.perf_counter())
        prepared = self.network.prepare(preprocessing.to_square([picture], self.spec))
        marks.append(time.perf_counter())
        embeddings = self._embed_prepared(prepared)
        marks.append(time.perf_counter())
        matches = self.search(embeddings[0], top)
        marks.append(time.perf_counter())
        durations = ((end - start) * 1000 for start, end in pairwise(marks))
        return Answer(matches, dict(zip(STEPS, durations, strict=True)))

    def recognize_batch(self, images: "Iterable[Image]", top: int = 5) -> list[tuple[Match, ...]]:
        """Return the matches of each image, in order.

        An ImageError names an image that is not a file by its number, counted from 1.
        """
        return [self.search(embedding, top) for embedding in self.embed(images)]

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
        if self.gallery is None:
            raise PokeflowError(
                "the recognizer has no gallery to search. Use embed instead, or open it with a gallery."
            )
        rows, scores = index.search(self.gallery.embeddings, retrieval.normalize_rows(embedding[None])[0], top)
        return tuple(
            Match(**self.gallery.card(int(row)), score=float(score)) for row, score in zip(rows, scores, strict=True)
        )

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


def decode_image(image: "Image", limits: ImageLimits, name: str = "the picture") -> "Pixels":
    """Return an image as RGB pixels; an encoded one is checked before it is decoded, and turned upright.

    The size of an array or of an image of Pillow is not limited, because it is in memory already.

    Raises:
        ImageError: It is not an image of an accepted format, or exceeds the limits.

    """
    import numpy as np
    from PIL import Image as Pillow

    if isinstance(image, Path):
        return _decode_file(image, limits)
    if isinstance(image, bytes | bytearray | memoryview):
        if limits.max_bytes is not None and len(image) > limits.max_bytes:
            raise ImageError(f"{name}: {len(image):,} bytes, the limit is {limits.max_bytes:,}.", "bytes")
        return preprocessing.decode_pillow(io.BytesIO(image), name, limits.formats, limits.max_pixels)
    if isinstance(image, Pillow.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ImageError(f"{name}: {pixels.dtype} of shape {pixels.shape}. Pass uint8 of shape H×W×3.", "format")
    return pixels


def _decode_file(file: Path, limits: ImageLimits) -> "Pixels":
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
            return preprocessing.decode_pillow(source, str(file), limits.formats, limits.max_pixels)
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
