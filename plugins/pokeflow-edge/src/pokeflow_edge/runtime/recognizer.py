"""The recognizer of a bundle, which opens only after its files, adapter and self-test are verified."""

import importlib.util
import io
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime import bundle as bundles
from pokeflow_edge.runtime.bundle import REMEDY, Bundle, Limits
from pokeflow_vision import index, retrieval
from pokeflow_vision.preprocessing import ImageError
from pokeflow_vision.recognizer import Answer, ImageLimits, Recognizer, open_recognizer

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

STATUS = {"missing": 404, "bytes": 413, "pixels": 413, "format": 422, "damaged": 422}
"""HTTP status for each fault of a rejected picture."""
_ADAPTER = "pokeflow_edge_adapter"


class ImageRejectedError(PokeflowError):
    """A picture was rejected; ``status`` is the HTTP status for the reason."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class BundleRecognizer:
    """An opened bundle for one picture at a time, since the network is not shared between threads."""

    bundle: Bundle
    recognizer: Recognizer
    limits: Limits

    def read(self, file: Path) -> Answer:
        """Return the answer to a picture file; raise an ImageRejectedError if it is no valid picture."""
        return self._answer(file, str(file))

    def answer(self, data: bytes, name: str = "the picture") -> Answer:
        """Return the answer to a JPEG or PNG; raise an ImageRejectedError if it is invalid or too large."""
        return self._answer(data, name)

    def recognize(self, picture: "np.ndarray | Image.Image") -> Answer:
        """Return the answer to an RGB picture, uint8 H×W×3 or Pillow's, such as a camera's frame."""
        return self._answer(picture, "the picture")

    def _answer(self, image: "Path | bytes | np.ndarray | Image.Image", name: str) -> Answer:
        try:
            return self.recognizer.answer(image, self.limits.top, name)
        except ImageError as error:
            messages = {
                "bytes": f"{name}: larger than the limit of {self.limits.max_bytes:,} bytes.",
                "pixels": f"{name}: larger than the limit of {self.limits.max_pixels:,} pixels. Scale it down.",
            }
            raise ImageRejectedError(messages.get(error.fault, str(error)), STATUS[error.fault]) from error

    def prove(self) -> None:
        """Compare embeddings with those in the bundle's self-test, and answer a generated PNG as for a client.

        Raises:
            PokeflowError: If the cosine of an embedding is below the bundle's minimum, which allows only for the
                different rounding of another processor's kernels.

        """
        from PIL import Image

        selftest, network, size = self.bundle.about["selftest"], self.recognizer.network, self.recognizer.spec.size
        squares, embeddings = _selftest(self.bundle.folder / selftest["file"], size, network.dim)
        for square, expected in zip(squares, embeddings, strict=True):
            cosine = float(retrieval.normalize_rows(network(network.prepare(square[None])))[0] @ expected)
            if not cosine >= selftest["cosine"]:
                raise PokeflowError(
                    f"{self.bundle.folder}: the model's embeddings differ from those of the packed self-test (cosine "
                    f"{cosine:.4f}, at least {selftest['cosine']} is expected). Install another version of "
                    f"{', '.join(self.bundle.about['requires']) or 'the runtime of its target'}, or of the bundle."
                )
        png = io.BytesIO()
        Image.new("RGB", (size, size), (96, 128, 160)).save(png, "PNG")
        self.answer(png.getvalue())


def open_bundle(folder: Path, threads: int = 0, **limits: int | None) -> BundleRecognizer:
    """Open the recognizer of an unpacked bundle, and run its self-test.

    Args:
        folder: The unpacked bundle.
        threads: Threads of the network; 0 uses every core.
        **limits: Values other than None override the bundle's ``Limits``.

    Raises:
        PokeflowError: If the bundle is damaged, its adapter does not load, or the self-test fails.

    """
    bundle = bundles.load_bundle(folder)
    effective = replace(bundle.limits, **{name: value for name, value in limits.items() if value is not None})
    recognizer = open_recognizer(
        folder / bundles.MODEL,
        lambda *args: _adapter(bundle).open_network(*args),
        gallery=folder,
        labels=folder / bundles.LABELS,
        threads=threads,
        limits=ImageLimits(effective.max_bytes, effective.max_pixels),
        remedy=REMEDY,
    )
    if (expected := bundle.about["preprocessing"]) != (actual := recognizer.spec.hash):
        raise PokeflowError(
            f"{folder / bundles.ABOUT}: has preprocessing {expected}, but the model has {actual}. {REMEDY}"
        )
    opened = BundleRecognizer(bundle, recognizer, effective)
    opened.prove()
    return opened


def _selftest(file: Path, size: int, dim: int) -> "tuple[np.ndarray, np.ndarray]":
    """Read squares uint8 n×size×size×3 and embeddings float32 n×dim; raise a PokeflowError if they are invalid."""
    try:
        squares, embeddings = index.arrays(file, ("squares", "embeddings")).values()
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{file}: not a readable self-test ({error}). {REMEDY}") from error
    count = squares.shape[0] if squares.ndim else 0
    expected = (("uint8", (count, size, size, 3)), ("float32", (count, dim)))
    if not count or expected != tuple((str(part.dtype), part.shape) for part in (squares, embeddings)):
        raise PokeflowError(
            f"{file}: unexpected arrays {squares.dtype}{squares.shape}, {embeddings.dtype}{embeddings.shape}. {REMEDY}"
        )
    return squares, retrieval.normalize_rows(embeddings)


def _adapter(bundle: Bundle) -> ModuleType:
    """Import the adapter from the verified file, never from an installed package of the same name."""
    spec = importlib.util.spec_from_file_location(_ADAPTER, bundle.adapter)
    assert spec is not None  # it ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_ADAPTER] = module  # where dataclasses look for the module of their class
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        requirements = ", ".join(bundle.about["requires"]) or "the runtime of its target"
        raise PokeflowError(f"{bundle.adapter}: cannot be loaded ({error}). Install {requirements}.") from error
    except (Exception, SystemExit) as error:
        raise PokeflowError(
            f"{bundle.adapter}: cannot be loaded ({type(error).__name__}: {error}). {REMEDY}"
        ) from error
    if not callable(getattr(module, "open_network", None)):
        raise PokeflowError(f"{bundle.adapter}: has no function open_network. {REMEDY}")
    return module
