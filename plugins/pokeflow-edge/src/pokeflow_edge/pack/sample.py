"""A few pictures with the embeddings that a device must come near to: how a bundle is tried before it answers."""

import importlib
import io
import logging
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pokeflow import Input, PokeflowError
from pokeflow.errors import Unavailable
from pokeflow_edge.params import PackageParams
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.index import Index
from pokeflow_vision.preprocessing import to_square
from pokeflow_vision.retrieval import normalized

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
FILE = "selftest.npz"
SAME = 0.999
"""Least cosine between the gallery's row and the same model's answer on this machine: rounding in other batches."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``selftest.npz``: ``squares`` uint8 n×S×S×3 and ``embeddings`` float32 n×D of length 1; and who gave these."""

    content: bytes
    source: str


def take(made: Input, data: Dataset, gallery: Index, params: PackageParams) -> Sample:
    """Squares of cards spread over the gallery, and their embeddings.

    These are the packed model's own where this machine can run it; a gallery that differs from them is another
    model's, and refused. Where it cannot be run here they are the gallery's, which the compiler's emulator gave.
    """
    import numpy as np

    rows = np.unique(np.linspace(0, len(data.cards) - 1, params.selftest).astype(int))
    squares = to_square([data.references[row] for row in rows], data.preprocessing)
    stated = gallery.embeddings[rows]
    network, why = _opened(made, data, params.adapter)
    if network is None:
        log.warning("%s cannot be run here (%s): its self-test is the gallery's own embeddings", made.record.task, why)
        return Sample(_npz(squares, stated), "the gallery, as the compiler's emulator gave it")
    found = normalized(np.concatenate([network(network.prepare(square[None])) for square in squares]))
    if found.shape != stated.shape or not (least := float((found * stated).sum(axis=1).min())) >= SAME:
        near = f"cosine {least:.4f}" if found.shape == stated.shape else f"{found.shape[1]} values a card"
        raise PokeflowError(
            f"{made.record.task}: its index is not what the model gives on this machine ({near}; at least {SAME} "
            "is expected). Compile the model again."
        )
    return Sample(_npz(squares, found), f"the packed model, run at packing on {platform.machine()}")


def _opened(made: Input, data: Dataset, adapter: str) -> tuple[Any, str]:
    """The model as this machine runs it; or None, and why it does not."""
    try:
        return importlib.import_module(adapter).opened(made.folder, data.preprocessing, 1), ""
    except (ImportError, Unavailable) as error:
        return None, str(error)


def _npz(squares: "np.ndarray", embeddings: "np.ndarray") -> bytes:
    """Both arrays, stored as they are, without a time: numpy writes the same one into each."""
    import numpy as np

    out = io.BytesIO()
    np.savez(out, squares=squares, embeddings=embeddings)
    return out.getvalue()
