"""A registered network as ``mlflow.pyfunc.load_model`` gives it: pictures in, the cards most like them out."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import PokeflowError
from pokeflow.errors import unknown
from pokeflow_mlflow.pictures import pictures
from pokeflow_vision import index
from pokeflow_vision.onnx_network import OnnxNetwork, open_network
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.recognizer import MismatchError, open_recognizer

if TYPE_CHECKING:
    import numpy as np

TOP, MOST = 5, 1000
MATCHES, EMBEDDING = "matches", "embedding"


class PythonModel:
    """The ONNX network of a model folder, the preprocessing that lies beside it, and the gallery of all cards."""

    def __init__(self, folder: Path) -> None:
        gallery = folder if (folder / index.FILE).is_file() else None
        try:
            self._recognizer = open_recognizer(folder, _opened, gallery=gallery)
        except MismatchError as error:
            said = {
                "preprocessing": f"{index.FILE} is of preprocessing {error.found}, the network of {error.expected}.",
                "dim": f"the network gives {error.expected} values, {index.FILE} has {error.found}.",
            }
            raise PokeflowError(f"{folder}: {said[error.part]} Register it again.") from error

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> "list[dict[str, list[dict[str, Any]]]] | np.ndarray":
        """For each picture ``{"matches": [...]}``: cards, best first, each with its cosine as ``score``.

        ``params``: ``top``, how many; ``output``, ``matches`` or ``embedding``: float32 N×D, as the network gives
        them (not normalised). The whole frame is taken for the card. What pictures may be: ``pictures``.
        """
        from mlflow.exceptions import MlflowException

        try:
            top, output = self._asked(params or {})
            embeddings = self._recognizer.embed(pictures(model_input))
        except PokeflowError as error:
            # A server answers this one with 400 and the sentence.
            raise MlflowException.invalid_parameter_value(str(error)) from None
        if output == EMBEDDING:
            return embeddings
        found = (self._recognizer.search(embedding, top) for embedding in embeddings)
        return [{MATCHES: [asdict(match) for match in matches]} for matches in found]

    def _asked(self, params: Mapping[str, Any]) -> tuple[int, str]:
        top, output = params.get("top", TOP), params.get("output", MATCHES if self._recognizer.gallery else EMBEDDING)
        if output not in (MATCHES, EMBEDDING):
            raise PokeflowError(str(unknown("output", "answer", output, (MATCHES, EMBEDDING))))
        if output == MATCHES and self._recognizer.gallery is None:
            raise PokeflowError("output: registered without a benchmark, whose gallery is searched. Ask for embedding.")
        if not 1 <= top <= MOST:
            raise PokeflowError(f"top: {top} is not between 1 and {MOST}")
        return int(top), output


def _opened(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    import onnxruntime

    return open_network(onnxruntime, folder, spec, threads)


def _load_pyfunc(path: str) -> PythonModel:
    """What MLflow calls, by this name, with the folder of the downloaded model."""
    return PythonModel(Path(path))
