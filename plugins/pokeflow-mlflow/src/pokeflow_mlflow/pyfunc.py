"""The model that ``mlflow.pyfunc.load_model`` loads for a registered network: it finds the cards in pictures."""

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

TOP, MAX_TOP = 5, 1000
MATCHES, EMBEDDING = "matches", "embedding"


class PythonModel:
    """An ONNX network with the preprocessing in its model folder and, if that has one, the gallery of all cards."""

    def __init__(self, folder: Path) -> None:
        gallery = folder if (folder / index.FILE).is_file() else None
        try:
            self._recognizer = open_recognizer(folder, _open_onnx_network, gallery=gallery)
        except MismatchError as error:
            messages = {
                "preprocessing": f"{index.FILE} was built with preprocessing {error.found}, but the network has "
                f"{error.expected}.",
                "dim": f"the network returns {error.expected} values, but {index.FILE} has {error.found}.",
            }
            raise PokeflowError(f"{folder}: {messages[error.part]} Register it again.") from error

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> "list[dict[str, list[dict[str, Any]]]] | np.ndarray":
        """Return the best matches of every picture, or the embedding of its whole frame.

        Args:
            model_input: One or more pictures in a form that the module ``pictures`` accepts.
            params: ``top``, the number of matches per picture (1 to 1000, default 5), and ``output``, ``matches`` or
                ``embedding``. The default output is ``matches``, without a gallery ``embedding``.

        Returns:
            For ``matches`` one ``{"matches": [...]}`` per picture: cards, best first, each with its cosine similarity
            as ``score``. For ``embedding`` a float32 array N×D as the network computes it, not normalized.

        Raises:
            MlflowException: A picture or a parameter is invalid.

        """
        from mlflow.exceptions import MlflowException

        try:
            top, output = self._parse_params(params or {})
            if output == EMBEDDING:
                return self._recognizer.embed(pictures(model_input))
            results = self._recognizer.recognize_batch(pictures(model_input), top)
        except PokeflowError as error:
            # MLflow's server turns this exception into a response with status 400 and the message.
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return [{MATCHES: [asdict(match) for match in matches]} for matches in results]

    def _parse_params(self, params: Mapping[str, Any]) -> tuple[int, str]:
        top, output = params.get("top", TOP), params.get("output", MATCHES if self._recognizer.gallery else EMBEDDING)
        if output not in (MATCHES, EMBEDDING):
            raise PokeflowError(str(unknown("output", "output", output, (MATCHES, EMBEDDING))))
        if output == MATCHES and self._recognizer.gallery is None:
            raise PokeflowError(
                "output: the model was registered without a benchmark and has no gallery to search. Request "
                "'embedding'."
            )
        if not 1 <= top <= MAX_TOP:
            raise PokeflowError(f"top: {top} is not between 1 and {MAX_TOP}.")
        return int(top), output


def _open_onnx_network(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    import onnxruntime

    return open_network(onnxruntime, folder, spec, threads)


def _load_pyfunc(path: str) -> PythonModel:
    """Load the model from its downloaded folder; MLflow calls this function by its name."""
    return PythonModel(Path(path))
