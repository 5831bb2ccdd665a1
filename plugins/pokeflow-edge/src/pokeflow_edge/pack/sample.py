"""The self-test of a bundle: a few pictures with the embeddings that a device must approximate before it serves."""

import importlib
import io
import logging
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pokeflow import Input, PokeflowError
from pokeflow.errors import UnavailableError
from pokeflow_edge.params import PackageParams
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.index import Index
from pokeflow_vision.preprocessing import to_square
from pokeflow_vision.retrieval import normalize_rows

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
FILE = "selftest.npz"
SAME = 0.999
"""Minimum cosine of a gallery row and the same model's embedding here: other batch sizes round differently."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``selftest.npz`` with ``squares`` uint8 n×S×S×3 and unit ``embeddings`` float32 n×D, and the source of these."""

    content: bytes
    source: str


def choose_sample(model: Input, data: Dataset, gallery: Index, params: PackageParams) -> Sample:
    """Return squares of cards spread evenly over the gallery, with their embeddings.

    The embeddings are computed by the packed model if this machine can run it, else they are those of the gallery,
    from the compiler's emulator.

    Raises:
        PokeflowError: If the gallery differs from the computed embeddings, and thus belongs to another model.

    """
    import numpy as np

    rows = np.unique(np.linspace(0, len(data.cards) - 1, params.selftest).astype(int))
    squares = to_square([data.references[row] for row in rows], data.preprocessing)
    expected = gallery.embeddings[rows]
    network, reason = _open(model, data, params.adapter)
    if network is None:
        log.warning(
            "%s cannot run on this machine (%s). Its self-test uses the gallery's embeddings", model.record.task, reason
        )
        return Sample(_npz(squares, expected), "the gallery, as the compiler's emulator gave it")
    computed = normalize_rows(np.concatenate([network(network.prepare(square[None])) for square in squares]))
    if computed.shape != expected.shape or not (least := float((computed * expected).sum(axis=1).min())) >= SAME:
        difference = f"cosine {least:.4f}" if computed.shape == expected.shape else f"{computed.shape[1]} values a card"
        raise PokeflowError(
            f"{model.record.task}: its index differs from what the model computes on this machine ({difference}; at "
            f"least {SAME} is expected). Compile the model again."
        )
    return Sample(_npz(squares, computed), f"the packed model, run at packing on {platform.machine()}")


def _open(model: Input, data: Dataset, adapter: str) -> tuple[Any, str]:
    """Open the model on this machine; return it, or None and the reason why it cannot run."""
    try:
        return importlib.import_module(adapter).open_network(model.folder, data.preprocessing, 1), ""
    except (ImportError, UnavailableError) as error:
        return None, str(error)


def _npz(squares: "np.ndarray", embeddings: "np.ndarray") -> bytes:
    """Serialize both arrays uncompressed; the bytes are reproducible, since numpy writes a constant time."""
    import numpy as np

    out = io.BytesIO()
    np.savez(out, squares=squares, embeddings=embeddings)
    return out.getvalue()
