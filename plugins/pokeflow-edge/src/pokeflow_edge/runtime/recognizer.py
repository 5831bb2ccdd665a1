"""The recogniser of a bundle: opened once its files, its adapter and its self-test are as they were packed."""

import importlib.util
import io
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime import bundle as bundles
from pokeflow_edge.runtime.bundle import MEND, Bundle, Limits
from pokeflow_vision import index, retrieval
from pokeflow_vision.preprocessing import ImageError
from pokeflow_vision.recognizer import Answer, ImageLimits, Recognizer, open_recognizer

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

STATUS = {"missing": 404, "bytes": 413, "pixels": 413, "format": 422, "damaged": 422}
"""HTTP's numbers for why a picture is not taken."""
_ADAPTER = "pokeflow_edge_adapter"


class Refused(PokeflowError):  # noqa: N818 - an answer to a client, not a mishap of this program
    """A picture that is not taken; ``status`` is HTTP's number for why."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class BundleRecognizer:
    """An opened bundle; one picture at a time, for the network is not shared between threads."""

    bundle: Bundle
    recognizer: Recognizer
    limits: Limits

    def read(self, file: Path) -> Answer:
        """The answer to a picture file; Refused where it is none."""
        return self._answer(file, str(file))

    def answer(self, data: bytes, name: str = "the picture") -> Answer:
        """The answer to the bytes of a JPEG or PNG; Refused where they are none, or too many."""
        return self._answer(data, name)

    def recognize(self, picture: "np.ndarray | Image.Image") -> Answer:
        """The answer to uint8 H×W×3 RGB, or to Pillow's RGB, such as a camera's frame."""
        return self._answer(picture, "the picture")

    def _answer(self, image: "Path | bytes | np.ndarray | Image.Image", name: str) -> Answer:
        try:
            return self.recognizer.answer(image, self.limits.top, name)
        except ImageError as error:
            said = {
                "bytes": f"{name}: has more than {self.limits.max_bytes:,} bytes.",
                "pixels": f"{name}: has more than {self.limits.max_pixels:,} pixels. Make it smaller.",
            }
            raise Refused(said.get(error.fault, str(error)), STATUS[error.fault]) from error

    def prove(self) -> None:
        """Give the embeddings that the bundle's self-test states, and answer a drawn picture as a client would ask.

        PokeflowError where they differ: kernels of another processor round otherwise, and no more than that.
        """
        from PIL import Image

        about, network, size = self.bundle.about["selftest"], self.recognizer.network, self.recognizer.spec.size
        squares, stated = _selftest(self.bundle.folder / about["file"], size, network.dim)
        for square, expected in zip(squares, stated, strict=True):
            cosine = float(retrieval.normalized(network(network.prepare(square[None])))[0] @ expected)
            if not cosine >= about["cosine"]:
                raise PokeflowError(
                    f"{self.bundle.folder}: the model does not give what it gave when it was packed (cosine "
                    f"{cosine:.4f}, at least {about['cosine']} is expected). Install another version of "
                    f"{', '.join(self.bundle.about['requires']) or 'the runtime of its target'}, or of the bundle."
                )
        drawn = io.BytesIO()
        Image.new("RGB", (size, size), (96, 128, 160)).save(drawn, "PNG")
        self.answer(drawn.getvalue())


def opened(folder: Path, threads: int = 0, **limits: int | None) -> BundleRecognizer:
    """The recogniser of an unpacked bundle, once it has proved itself; PokeflowError where it cannot.

    ``threads`` are the network's, 0 is every core; ``limits`` other than None stand in for the bundle's.
    """
    bundle = bundles.checked(folder)
    own = replace(bundle.limits, **{name: value for name, value in limits.items() if value is not None})
    recognizer = open_recognizer(
        folder / bundles.MODEL,
        lambda *given: _adapter(bundle).opened(*given),
        gallery=folder,
        labels=folder / bundles.LABELS,
        threads=threads,
        limits=ImageLimits(own.max_bytes, own.max_pixels),
        remedy=MEND,
    )
    if (said := bundle.about["preprocessing"]) != (found := recognizer.spec.hash):
        raise PokeflowError(f"{folder / bundles.ABOUT}: is of preprocessing {said}, the model of {found}. {MEND}")
    one = BundleRecognizer(bundle, recognizer, own)
    one.prove()
    return one


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
