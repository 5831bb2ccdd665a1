"""The recogniser of a bundle, which opens only after its files, adapter and self-test are verified."""

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
            said = {
                "bytes": f"{name}: has more than {self.limits.max_bytes:,} bytes.",
                "pixels": f"{name}: has more than {self.limits.max_pixels:,} pixels. Make it smaller.",
            }
            raise ImageRejectedError(said.get(error.fault, str(error)), STATUS[error.fault]) from error

    def prove(self) -> None:
        """Compare embeddings with those in the bundle's self-test, and answer a generated PNG as for a client.

        Raises:
            PokeflowError: If the cosine of an embedding is below the bundle's minimum, which allows only for the
                different rounding of another processor's kernels.

        """
        from PIL import Image

        about, network, size = self.bundle.about["selftest"], self.recognizer.network, self.recognizer.spec.size
        squares, stated = _selftest(self.bundle.folder / about["file"], size, network.dim)
        for square, expected in zip(squares, stated, strict=True):
            cosine = float(retrieval.normalize_rows(network(network.prepare(square[None])))[0] @ expected)
            if not cosine >= about["cosine"]:
                raise PokeflowError(
                    f"{self.bundle.folder}: the model does not give what it gave when it was packed (cosine "
                    f"{cosine:.4f}, at least {about['cosine']} is expected). Install another version of "
                    f"{', '.join(self.bundle.about['requires']) or 'the runtime of its target'}, or of the bundle."
                )
        drawn = io.BytesIO()
        Image.new("RGB", (size, size), (96, 128, 160)).save(drawn, "PNG")
        self.answer(drawn.getvalue())


def open_bundle(folder: Path, threads: int = 0, **limits: int | None) -> BundleRecognizer:
    """Open the recogniser of an unpacked bundle, and run its self-test.

    Args:
        folder: The unpacked bundle.
        threads: Threads of the network; 0 uses every core.
        **limits: Values other than None override the bundle's ``Limits``.

    Raises:
        PokeflowError: If the bundle is damaged, its adapter does not load, or the self-test fails.

    """
    bundle = bundles.load_bundle(folder)
    own = replace(bundle.limits, **{name: value for name, value in limits.items() if value is not None})
    recognizer = open_recognizer(
        folder / bundles.MODEL,
        lambda *arguments: _adapter(bundle).open_network(*arguments),
        gallery=folder,
        labels=folder / bundles.LABELS,
        threads=threads,
        limits=ImageLimits(own.max_bytes, own.max_pixels),
        remedy=REMEDY,
    )
    if (said := bundle.about["preprocessing"]) != (actual := recognizer.spec.hash):
        raise PokeflowError(f"{folder / bundles.ABOUT}: is of preprocessing {said}, the model of {actual}. {REMEDY}")
    one = BundleRecognizer(bundle, recognizer, own)
    one.prove()
    return one


def _selftest(file: Path, size: int, dim: int) -> "tuple[np.ndarray, np.ndarray]":
    """Read squares uint8 n×size×size×3 and embeddings float32 n×dim; raise a PokeflowError if they are invalid."""
    try:
        squares, stated = index.arrays(file, ("squares", "embeddings")).values()
    except (OSError, ValueError) as error:
        raise PokeflowError(f"{file}: not a readable self-test ({error}). {REMEDY}") from error
    count = squares.shape[0] if squares.ndim else 0
    wanted = (("uint8", (count, size, size, 3)), ("float32", (count, dim)))
    if not count or wanted != tuple((str(part.dtype), part.shape) for part in (squares, stated)):
        raise PokeflowError(f"{file}: holds {squares.dtype}{squares.shape}, {stated.dtype}{stated.shape}. {REMEDY}")
    return squares, retrieval.normalize_rows(stated)


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
        needed = ", ".join(bundle.about["requires"]) or "the runtime of its target"
        raise PokeflowError(f"{bundle.adapter}: does not load ({error}). Install {needed}.") from error
    except (Exception, SystemExit) as error:
        raise PokeflowError(f"{bundle.adapter}: does not load ({type(error).__name__}: {error}). {REMEDY}") from error
    if not callable(getattr(module, "open_network", None)):
        raise PokeflowError(f"{bundle.adapter}: has no function that opens a model. {REMEDY}")
    return module
