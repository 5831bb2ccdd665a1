"""What an opened model of any target looks like, and what is asked of each: embeddings of many pictures."""

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
    "inherited",
    "model_and_data",
    "model_input",
    "require_finite",
    "size_mb",
]

INHERITED = ("architecture", "parameters")


class Network(Protocol):
    """An opened model of any target, in two steps so that each can be timed.

    ``prepare`` turns uint8 N×size×size×3 RGB into what the runtime takes: normalised floats, or the bytes as they are.
    A call turns that into embeddings, float32 N×``dim``, not scaled to length 1.
    """

    @property
    def dim(self) -> int:
        """Values of an embedding."""

    def prepare(self, squares: "np.ndarray") -> Any:
        """What the runtime takes, of resized pictures."""

    def __call__(self, prepared: Any) -> "np.ndarray":
        """Embeddings of what ``prepare`` gave."""


Opener = Callable[[Path, Preprocessing, int], Network]
"""Opens the model of a folder for this preprocessing on so many threads (0: every core); PokeflowError if it cannot."""


def model_input(task: Task) -> Input:
    """The first input that is a model; PokeflowError where there is none."""
    for item in task.inputs:
        if item.record.makes_model:
            return item
    raise PokeflowError(f"{task.name}: needs a model to work on, and none is among its inputs. Give it a parent.")


def model_and_data(task: Task) -> tuple[Input, "Dataset"]:
    """The first input that is a model, and the data set; PokeflowError where these prepare pictures differently."""
    model, data = model_input(task), dataset.read(task.input(stage=PREPARE).folder)
    preprocessing.require_same(data.preprocessing, preprocessing.read(model.folder), model.record.task)
    return model, data


def inherited(parent: Input) -> dict[str, Any]:
    """The facts of a model that hold for whatever it is compiled to."""
    return {name: parent.record.facts[name] for name in INHERITED if name in parent.record.facts}


def embed(
    network: Network, images: "np.ndarray", rows: Sequence[int], spec: Preprocessing, label: str, *, batch: int = 32
) -> "np.ndarray":
    """Embeddings of these rows of uint8 N×H×W×3 pictures, float32 n×dim; only a batch is in memory at once."""
    import numpy as np

    embeddings = np.empty((len(rows), network.dim), np.float32)
    with progress.bar(label, len(rows)) as advance:
        for start in range(0, len(rows), batch):
            part = list(rows[start : start + batch])
            embeddings[start : start + batch] = network(network.prepare(to_square(images[part], spec)))
            advance(len(part))
    require_finite(embeddings, label)
    return embeddings


def require_finite(embeddings: "np.ndarray", where: object) -> None:
    """Refuse embeddings that hold NaN or infinity."""
    import numpy as np

    if not np.isfinite(embeddings).all():
        raise PokeflowError(f"{where}: gives embeddings that are not finite (NaN or infinity). Train it again.")


def gallery(network: Network, data: "Dataset") -> index.Index:
    """The index of a data set's references as this network sees them."""
    return index.build(data, embed(network, data.references, range(len(data.cards)), data.preprocessing, "gallery"))


def size_mb(folder: Path, *patterns: str) -> float:
    """10^6 bytes of the files of a folder that are the model."""
    return sum(file.stat().st_size for pattern in patterns for file in folder.glob(pattern)) / 1e6
