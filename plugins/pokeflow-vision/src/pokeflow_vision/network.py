"""Interface of an opened model of any target, and embeddings of many pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow.stages import PREPARE
from pokeflow.types import Input, Task
from pokeflow_vision import dataset, index, preprocessing
from pokeflow_vision.onnx_network import INPUT, ONNX, OUTPUT, embedding_dim
from pokeflow_vision.preprocessing import Preprocessing, to_square

if TYPE_CHECKING:
    import numpy as np

    from pokeflow_vision.dataset import Dataset

__all__ = [
    "INHERITED",
    "INPUT",
    "ONNX",
    "OUTPUT",
    "Network",
    "Opener",
    "embed",
    "embedding_dim",
    "gallery",
    "inherited_facts",
    "model_and_data",
    "model_input",
    "require_finite",
    "size_mb",
]

INHERITED = ("architecture", "parameters")


class Network(Protocol):
    """Interface of an opened model of any target, in two steps so that each can be timed.

    ``prepare`` converts uint8 N×size×size×3 RGB to the runtime's input: normalized floats, or the bytes unchanged.
    A call computes embeddings from it, float32 N×``dim``, not scaled to length 1.
    """

    @property
    def dim(self) -> int:
        """Number of values of an embedding."""

    def prepare(self, squares: "np.ndarray") -> Any:
        """Convert resized pictures, uint8 N×size×size×3 RGB, to the runtime's input."""

    def __call__(self, prepared: Any) -> "np.ndarray":
        """Return the embeddings of pictures that ``prepare`` converted, float32 N×``dim``."""


Opener = Callable[[Path, Preprocessing, int], Network]
"""Function that opens a folder's model for a preprocessing and a number of threads (0: every core).

It raises a PokeflowError if it cannot."""


def model_input(task: Task) -> Input:
    """Return the first input that is a model; raise a PokeflowError if there is no model."""
    for item in task.inputs:
        if item.record.makes_model:
            return item
    raise PokeflowError(f"{task.name}: needs a model, and none of its inputs is one. Set a parent.")


def model_and_data(task: Task) -> tuple[Input, "Dataset"]:
    """Return the first model and the data set; raise a PokeflowError if they prepare pictures differently."""
    model, data = model_input(task), dataset.read(task.input(stage=PREPARE).folder)
    preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), model.record.task)
    return model, data


def inherited_facts(parent: Input) -> dict[str, Any]:
    """Return the facts of a model that stay true for every model compiled from it."""
    return {name: parent.record.facts[name] for name in INHERITED if name in parent.record.facts}


def embed(
    network: Network, images: "np.ndarray", rows: Sequence[int], spec: Preprocessing, label: str, *, batch: int = 32
) -> "np.ndarray":
    """Return the embeddings of selected pictures; only one batch is in memory at a time.

    Args:
        network: The opened network.
        images: Uint8 N×H×W×3 RGB.
        rows: The n rows of ``images`` to embed.
        spec: Preprocessing that sets the size.
        label: Label of the progress bar and of error messages.
        batch: Number of pictures in a batch.

    Returns:
        Float32 n×dim, not scaled to length 1.

    Raises:
        PokeflowError: An embedding is not finite.

    """
    import numpy as np

    embeddings = np.empty((len(rows), network.dim), np.float32)
    with progress.bar(label, len(rows)) as advance:
        for start in range(0, len(rows), batch):
            part = list(rows[start : start + batch])
            embeddings[start : start + batch] = network(network.prepare(to_square(images[part], spec)))
            advance(len(part))
    require_finite(embeddings, label)
    return embeddings


def require_finite(embeddings: "np.ndarray", label: object) -> None:
    """Raise a PokeflowError for embeddings that hold NaN or infinity."""
    import numpy as np

    if not np.isfinite(embeddings).all():
        raise PokeflowError(
            f"{label}: the network returns embeddings that are not finite (NaN or infinity). Train it again."
        )


def gallery(network: Network, data: "Dataset") -> index.Index:
    """Return the index of a data set's references, with this network's embeddings."""
    return index.build(data, embed(network, data.references, range(len(data.cards)), data.preprocessing, "gallery"))


def size_mb(folder: Path, *patterns: str) -> float:
    """Return the size of a model's files, those that match the glob patterns, in units of 10^6 bytes."""
    return sum(file.stat().st_size for pattern in patterns for file in folder.glob(pattern)) / 1e6
