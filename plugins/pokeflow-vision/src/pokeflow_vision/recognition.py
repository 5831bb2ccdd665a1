"""Stage ``recognize`` of any target: which cards one picture may show, from the gallery that a benchmark left."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pokeflow.errors import PokeflowError
from pokeflow.types import Result, Task
from pokeflow_vision import index, jsonfile, preprocessing, retrieval
from pokeflow_vision.network import Opener, embed, model_input


@dataclass(frozen=True, slots=True)
class RecognizeParams:
    """Which picture to recognise (its whole frame is taken for the card), and how many answers to give."""

    image: str
    top: int = 5


def check(params: RecognizeParams) -> Iterable[tuple[str, str]]:
    """Faults of the parameters, as a backend's ``check`` tells them."""
    if params.top < 1:
        yield "top", f"{params.top} is below 1"
    if not Path(params.image).is_file():
        yield "image", f"no file {params.image!r}"


def fingerprint(params: RecognizeParams) -> str:
    """The picture's content."""
    try:
        with _file(params.image).open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise PokeflowError(f"{params.image}: cannot be read ({error}).") from error


def run(task: Task, opened: Opener) -> Result:
    """Recognise one picture and write ``matches.json``, best first.

    The whole frame is taken for the card: a picture with much around it is answered as if it had none.
    ``score`` is the cosine between embeddings; ``seconds`` is from opening the picture to the answer.
    """
    params: RecognizeParams = task.params
    model, gallery = model_input(task), task.input(stage="benchmark")
    spec = preprocessing.read(model.folder)
    preprocessing.require_same(spec, preprocessing.read(gallery.folder), gallery.record.task)
    cards = index.read(gallery.folder)
    if cards.preprocessing != spec.hash:
        raise PokeflowError(
            f"{gallery.record.task}: its index was made with preprocessing {cards.preprocessing}, the model's is "
            f"{spec.hash}. Run the benchmark again."
        )
    network = opened(model.folder, spec, 0)
    if network.dim != cards.embeddings.shape[1]:
        raise PokeflowError(
            f"{gallery.record.task}: its index holds embeddings of {cards.embeddings.shape[1]} values, the model "
            f"gives {network.dim}; it is of another model. Run the benchmark again."
        )

    began = time.perf_counter()
    picture = preprocessing.load_image(_file(params.image))
    embedding = embed(network, picture[None], [0], spec, params.image)
    rows, scores = index.search(cards.embeddings, retrieval.normalized(embedding)[0], params.top)
    seconds = time.perf_counter() - began

    matches = [{**cards.card(int(row)), "score": float(score)} for row, score in zip(rows, scores, strict=True)]
    answer = {"image": params.image, "matches": matches, "preprocessing": spec.hash, "seconds": round(seconds, 6)}
    jsonfile.write(task.output / "matches.json", answer)
    return Result({"score": float(scores[0]), "seconds": seconds}, {"preprocessing": spec.hash})


def _file(image: str) -> Path:
    file = Path(image)
    # A pipe or a device could be read for ever.
    if not file.is_file():
        raise PokeflowError(f"{image}: no such picture. Give the path of an image file.")
    return file
