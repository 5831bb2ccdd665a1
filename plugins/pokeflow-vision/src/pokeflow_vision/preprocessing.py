"""One preprocessing spec for training, export, calibration, benchmark and recognition."""

import hashlib
import json
import math
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
# Decompression bombs are refused before they are decoded: no phone takes larger pictures than this.
MAX_PIXELS = 120_000_000
# Formats of scans and photos; MPO, which some phones write instead of JPEG, is accepted with JPEG. Pillow supports
# more, some of which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
PILLOW_LIMIT = 178_956_970
"""Number of pixels above which Pillow itself refuses a picture."""


class ImageError(PokeflowError):
    """Error for a picture that is not accepted. A host with statuses or messages of its own reads ``fault``.

    Args:
        message: The sentence for people.
        fault: ``missing`` (no such file), ``bytes`` or ``pixels`` (more than the limit), ``format`` (not an image of
            an accepted format), ``damaged`` (the header can be read, the content cannot).
        size: Width and height, if ``pixels`` is the fault and the header was read.

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
    """Conversion of a picture to a network's input: resize to a square, scale to [0, 1], normalize per channel.

    Attributes:
        size: Side of the square input in pixels.
        mean: Mean per channel (RGB, values in [0, 1]); default: ImageNet.
        std: Standard deviation per channel (RGB, values in [0, 1]); default: ImageNet.

    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def hash(self) -> str:
        """Identifier of this spec, twelve hex digits."""
        values = {"size": self.size, "mean": [*map(float, self.mean)], "std": [*map(float, self.std)]}
        text = json.dumps({"algorithm": "pillow-bilinear-antialias", **values}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Write the spec and its hash into a model's or a data set's folder."""
        text = json.dumps({**asdict(self), "hash": self.hash}, indent=2)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Preprocessing:
    """Read a folder's spec; raise a PokeflowError if it is unreadable or does not match its own hash."""
    file = folder / FILE
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        spec = Preprocessing(int(raw["size"]), _triple(raw["mean"]), _triple(raw["std"]))
        recorded_hash = raw["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PokeflowError(f"{file}: cannot read the preprocessing spec ({error}). Restore it.") from error
    if recorded_hash != spec.hash:
        raise PokeflowError(
            f"{file}: records hash {recorded_hash}, but its values have {spec.hash}: "
            "it was edited or damaged. Restore it."
        )
    return spec


def _triple(values: Iterable[float]) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b


def require_same(expected: Preprocessing, actual: Preprocessing, label: str) -> None:
    """Raise a PokeflowError if two sides would prepare pictures differently."""
    if expected.hash != actual.hash:
        raise PokeflowError(
            f"{label}: preprocessing {actual.hash} differs from the data set's {expected.hash} "
            f"({actual} against {expected}). Metrics would be meaningless. Train the model again on this data set."
        )


def load_image(file: Path) -> "np.ndarray":
    """Read an image file as uint8 H×W×3 RGB, turned upright; raise an ImageError if it is unusable or too large."""
    return decode(file, str(file), FORMATS, MAX_PIXELS)


def decode(source: Path | BinaryIO, name: str, formats: Sequence[str], max_pixels: int) -> "np.ndarray":
    """Decode an image as uint8 H×W×3 RGB, turned upright.

    Args:
        source: Path, open file or buffer with the encoded image.
        name: Name of the image in error messages.
        formats: Accepted formats, by Pillow's names.
        max_pixels: Largest accepted number of pixels.

    Raises:
        ImageError: The image has too many pixels, or cannot be decoded.

    """
    import numpy as np

    return np.asarray(decode_pillow(source, name, formats, max_pixels))


def decode_pillow(
    source: Path | BinaryIO, name: str, formats: Sequence[str], max_pixels: int, side: int | None = None
) -> "Image.Image":
    """Decode an image as ``decode`` does, but return an RGB image of Pillow.

    With ``side``, a JPEG is decoded at a half, a quarter or an eighth of its size if its longer side stays at least so
    many pixels, which takes a fraction of the time.

    The result takes four bytes a pixel; up to ten are in use while it is decoded and turned.

    Raises:
        ImageError: The header states too many pixels, so nothing was decoded; or the image cannot be decoded.

    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        # Pillow warns at fewer pixels than are allowed here; its error, at twice its warning limit, still applies.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image: Image.Image = Image.open(source, formats=tuple(formats))
        except Image.DecompressionBombError as error:
            raise ImageError(_unreadable(name, error), "pixels") from error
        except Exception as error:  # decoders raise any exception for a damaged file
            raise ImageError(_unreadable(name, error), "format") from error
        with image:
            if image.width * image.height > max_pixels:
                message = f"{name}: {image.width}×{image.height} pixels, the limit is {max_pixels:,} in all."
                raise ImageError(message, "pixels", image.size)
            try:
                if side is not None and (ratio := side / max(image.size)) < 1:
                    image.draft("RGB", (math.ceil(image.width * ratio), math.ceil(image.height * ratio)))
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return image if image.mode == "RGB" else image.convert("RGB")
            except Exception as error:  # decoders raise any exception for a damaged file
                raise ImageError(_unreadable(name, error), "damaged") from error


def _unreadable(name: str, error: Exception) -> str:
    kind = type(error).__name__
    reason = "of an unknown format" if kind == "UnidentifiedImageError" else f"{kind}: {error}"
    return f"{name}: not a readable image ({reason})."


def to_square(images: "Iterable[np.ndarray | Image.Image]", spec: Preprocessing) -> "np.ndarray":
    """Resize RGB pictures to uint8 N×size×size×3, the step before normalizing that all targets share.

    Args:
        images: Pictures of any height and width: uint8 H×W×3 arrays or RGB images of Pillow.
        spec: Preprocessing that sets the size.

    """
    import numpy as np
    from PIL import Image

    def resize(image: "np.ndarray | Image.Image") -> "np.ndarray":
        picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
        if picture.size == (spec.size, spec.size):
            return np.asarray(picture)
        return np.asarray(picture.resize((spec.size, spec.size), Image.Resampling.BILINEAR))

    return np.stack([resize(image) for image in images])


def normalize(squares: "np.ndarray", spec: Preprocessing) -> "np.ndarray":
    """Normalize resized pictures to the network's input: (x / 255 - mean) / std for each channel.

    Args:
        squares: Uint8 N×size×size×3 RGB, 0 to 255.
        spec: Preprocessing with the mean and the standard deviation of each channel.

    Returns:
        Float32 N×3×size×size, contiguous.

    """
    import numpy as np

    values: np.ndarray = squares.astype(np.float32) / np.float32(255)
    values = (values - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
