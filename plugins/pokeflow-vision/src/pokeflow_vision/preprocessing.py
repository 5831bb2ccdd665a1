"""One preprocessing spec for training, export, calibration, benchmark and recognition."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pokeflow.errors import PokeflowError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FILE = "preprocessing.json"
# Bombs are refused before they are decoded: no phone makes more than this.
MAX_PIXELS = 120_000_000
# Formats of scans and photos; MPO, what some phones make of a JPEG, comes with JPEG. Pillow knows more, some of
# which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
PILLOW_LIMIT = 178_956_970
"""Pixels at which Pillow refuses a picture itself."""


class ImageError(PokeflowError):
    """A picture that is not taken. A host that answers by status or in other words looks at ``fault``.

    Args:
        message: The sentence for people.
        fault: ``missing`` (no such file), ``bytes`` or ``pixels`` (more than the limit), ``format`` (no image of a
            format that is taken), ``damaged`` (its header is read, its content is not).
        size: Width and height, where ``pixels`` is the fault and its header was read.

    """

    def __init__(
        self,
        message: str,
        fault: Literal["missing", "bytes", "pixels", "format", "damaged"],
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.fault, self.size = fault, size


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes a network's input: resized to a square, scaled to [0, 1], normalised per channel.

    ``size`` in pixels; ``mean`` and ``std`` in RGB order on the [0, 1] scale (timm's ImageNet default).
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def hash(self) -> str:
        """Twelve hex digits that name this spec."""
        values = {"size": self.size, "mean": [*map(float, self.mean)], "std": [*map(float, self.std)]}
        text = json.dumps({"algorithm": "pillow-bilinear-antialias", **values}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Put the spec and its hash into a model's or a data set's folder."""
        text = json.dumps({**asdict(self), "hash": self.hash}, indent=2)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Preprocessing:
    """The spec a folder carries; an error if it is missing or does not match its own hash."""
    file = folder / FILE
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        spec = Preprocessing(int(raw["size"]), _triple(raw["mean"]), _triple(raw["std"]))
        stated = raw["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PokeflowError(f"{file}: no readable preprocessing spec ({error}).") from error
    if stated != spec.hash:
        raise PokeflowError(f"{file}: says hash {stated}, its values give {spec.hash}; it was edited or damaged.")
    return spec


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b


def require_same(expected: Preprocessing, found: Preprocessing, where: str) -> None:
    """Refuse to go on where two sides would prepare pictures differently."""
    if expected.hash != found.hash:
        raise PokeflowError(
            f"{where}: preprocessing {found.hash} differs from the data set's {expected.hash} "
            f"({found} against {expected}). Figures would mean nothing; make the model again on this data."
        )


def load_image(file: Path) -> "np.ndarray":
    """Read an image file as uint8 RGB, H×W×3, upright; ImageError for what is no image or far too large."""
    return decode(file, str(file), FORMATS, MAX_PIXELS)


def decode(source: Path | BinaryIO, name: str, formats: Sequence[str], max_pixels: int) -> "np.ndarray":
    """The same from an open file or from memory; ``name`` is what an error calls it."""
    import numpy as np

    return np.asarray(decoded(source, name, formats, max_pixels))


def decoded(source: Path | BinaryIO, name: str, formats: Sequence[str], max_pixels: int) -> "Image.Image":
    """The same as Pillow holds it, in four bytes a pixel; up to ten while it is decoded and turned.

    Raises:
        ImageError: The header says that there are too many pixels, and nothing was decoded; or it cannot be.

    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        # Pillow warns at fewer pixels than are allowed here; its own error, at twice as many, stays.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image: Image.Image = Image.open(source, formats=tuple(formats))
        except Image.DecompressionBombError as error:
            raise ImageError(_unreadable(name, error), "pixels") from error
        except Exception as error:  # a damaged file makes decoders fail in every way there is
            raise ImageError(_unreadable(name, error), "format") from error
        with image:
            if image.width * image.height > max_pixels:
                said = f"{name}: {image.width}×{image.height} pixels, the limit is {max_pixels:,} in all."
                raise ImageError(said, "pixels", image.size)
            try:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return image if image.mode == "RGB" else image.convert("RGB")
            except Exception as error:  # as above
                raise ImageError(_unreadable(name, error), "damaged") from error


def _unreadable(name: str, error: Exception) -> str:
    kind = type(error).__name__
    reason = "of no known format" if kind == "UnidentifiedImageError" else f"{kind}: {error}"
    return f"{name}: not a readable image ({reason})."


def to_square(images: "Iterable[np.ndarray | Image.Image]", spec: Preprocessing) -> "np.ndarray":
    """Resize RGB pictures of any shape to uint8 N×size×size×3: what every side shares before normalising."""
    import numpy as np
    from PIL import Image

    def one(image: "np.ndarray | Image.Image") -> "np.ndarray":
        picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
        if picture.size == (spec.size, spec.size):
            return np.asarray(picture)
        return np.asarray(picture.resize((spec.size, spec.size), Image.Resampling.BILINEAR))

    return np.stack([one(image) for image in images])


def normalize(squares: "np.ndarray", spec: Preprocessing) -> "np.ndarray":
    """uint8 N×size×size×3 → float32 N×3×size×size, the network's input."""
    import numpy as np

    scaled: np.ndarray = squares.astype(np.float32) / np.float32(255)
    scaled = (scaled - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
