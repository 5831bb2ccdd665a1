"""A registered network as ``mlflow.pyfunc.load_model`` gives it: pictures in, embeddings out."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow.images import preprocessing

if TYPE_CHECKING:
    import numpy as np

BATCH = 32


class Embedder:
    """The ONNX network of a model folder behind the preprocessing that lies beside it."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self._spec = preprocessing.read(folder)
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def predict(self, model_input: "Iterable[np.ndarray]", params: dict[str, Any] | None = None) -> "np.ndarray":
        """uint8 RGB pictures, each H×W×3 of any size → float32 N×D, as the network gives them (not normalised)."""
        import numpy as np

        images = list(model_input)
        return np.concatenate([self._embed(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])

    def _embed(self, images: "list[np.ndarray]") -> "np.ndarray":
        batch = preprocessing.normalize(preprocessing.to_square(images, self._spec), self._spec)
        embeddings: np.ndarray = self._session.run(["embedding"], {"image": batch})[0]
        return embeddings


def _load_pyfunc(path: str) -> Embedder:
    """What MLflow calls, by this name, with the folder of the downloaded model."""
    return Embedder(Path(path))
