"""A registered network as ``mlflow.pyfunc.load_model`` gives it: pictures in, the cards most like them out."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import PokeflowError
from pokeflow.errors import unknown
from pokeflow_mlflow.pictures import pictures
from pokeflow_vision import index, preprocessing, retrieval

if TYPE_CHECKING:
    import numpy as np

BATCH = 32
TOP, MOST = 5, 1000
MATCHES, EMBEDDING = "matches", "embedding"


class Recognizer:
    """The ONNX network of a model folder, the preprocessing that lies beside it, and the gallery of all cards."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self._spec = preprocessing.read(folder)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # its warnings are about speed
        # Spinning threads would slow whoever shares the machine, a server's own threads first.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = folder / "model.onnx"
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._cards = index.read(folder) if (folder / index.FILE).is_file() else None
        if self._cards:
            self._require_of_one_piece(self._cards, folder)

    def _require_of_one_piece(self, cards: index.Index, folder: Path) -> None:
        dim, found = self._session.get_outputs()[0].shape[1], cards.embeddings.shape[1]
        if isinstance(dim, int) and dim != found:
            raise PokeflowError(
                f"{folder}: the network gives {dim} values, {index.FILE} has {found}. Register it again."
            )
        if cards.preprocessing != self._spec.hash:
            raise PokeflowError(
                f"{folder}: {index.FILE} is of preprocessing {cards.preprocessing}, the network of {self._spec.hash}. "
                "Register it again."
            )

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
            embeddings = self._embeddings(pictures(model_input))
        except PokeflowError as error:
            # A server answers this one with 400 and the sentence.
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return embeddings if output == EMBEDDING else [self._matches(row, top) for row in embeddings]

    def _asked(self, params: Mapping[str, Any]) -> tuple[int, str]:
        top, output = params.get("top", TOP), params.get("output", MATCHES if self._cards else EMBEDDING)
        if output not in (MATCHES, EMBEDDING):
            raise PokeflowError(str(unknown("output", "answer", output, (MATCHES, EMBEDDING))))
        if output == MATCHES and self._cards is None:
            raise PokeflowError("output: registered without a benchmark, whose gallery is searched. Ask for embedding.")
        if not 1 <= top <= MOST:
            raise PokeflowError(f"top: {top} is not between 1 and {MOST}")
        return int(top), output

    def _embeddings(self, given: "Iterator[np.ndarray]") -> "np.ndarray":
        import numpy as np

        # Squares before batches: of large pictures only one is in memory.
        squares = (preprocessing.to_square([picture], self._spec)[0] for picture in given)
        dim = self._session.get_outputs()[0].shape[1]
        parts = [np.empty((0, dim if isinstance(dim, int) else 0), np.float32)]
        while batch := list(islice(squares, BATCH)):
            images = preprocessing.normalize(np.stack(batch), self._spec)
            parts.append(self._session.run(["embedding"], {"image": images})[0])
        embeddings: np.ndarray = np.concatenate(parts[1:] or parts)
        if not np.isfinite(embeddings).all():
            raise PokeflowError("the network gives no finite embedding of this picture. Train it again.")
        return embeddings

    def _matches(self, embedding: "np.ndarray", top: int) -> dict[str, list[dict[str, Any]]]:
        assert self._cards is not None
        rows, scores = index.search(self._cards.embeddings, retrieval.normalized(embedding[None])[0], top)
        return {
            MATCHES: [{**self._cards.card(int(row)), "score": float(s)} for row, s in zip(rows, scores, strict=True)]
        }


def _load_pyfunc(path: str) -> Recognizer:
    """What MLflow calls, by this name, with the folder of the downloaded model."""
    return Recognizer(Path(path))
