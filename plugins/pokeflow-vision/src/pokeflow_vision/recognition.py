"""Stage ``recognize`` of any target: the cards that one picture may show, from the gallery of a benchmark."""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pokeflow.errors import PokeflowError
from pokeflow.types import Result, Task
from pokeflow_vision import jsonfile, preprocessing
from pokeflow_vision.network import Opener, model_input
from pokeflow_vision.recognizer import ImageLimits, MismatchError, open_recognizer


@dataclass(frozen=True, slots=True)
class RecognizeParams:
    """Parameters of a recognition.

    Attributes:
        image: Path of the picture.
        top: Number of matches.

    """

    image: str
    top: int = 5


def check(params: RecognizeParams) -> Iterable[tuple[str, str]]:
    """Yield the faults of the parameters as (parameter, message) pairs, for a backend's ``check``."""
    if params.top < 1:
        yield "top", f"{params.top} is below 1"
    if not Path(params.image).is_file():
        yield "image", f"no file {params.image!r}"


def fingerprint(params: RecognizeParams) -> str:
    """Return the sha256 of the picture's content."""
    try:
        with _file(params.image).open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise PokeflowError(f"{params.image}: cannot be read ({error}). Name an image file.") from error


def run(task: Task, open_network: Opener) -> Result:
    """Recognize one picture and write ``matches.json``, best match first.

    ``score`` is the cosine between embeddings; ``seconds`` is the time from opening the picture to the answer.
    """
    params: RecognizeParams = task.params
    model, gallery = model_input(task), task.input(stage="benchmark")
    spec = preprocessing.read(model.folder)
    preprocessing.require_same(spec, preprocessing.read(gallery.folder), gallery.record.task)
    limits = ImageLimits(None, preprocessing.MAX_PIXELS, preprocessing.FORMATS)
    try:
        recognizer = open_recognizer(model.folder, open_network, gallery=gallery.folder, limits=limits)
    except MismatchError as error:
        raise PokeflowError(f"{gallery.record.task}: {_mismatch(error)} Run the benchmark again.") from error

    start = time.perf_counter()
    answer = recognizer.answer(_file(params.image), params.top)
    seconds = time.perf_counter() - start

    about = {"image": params.image, "preprocessing": spec.hash, "seconds": round(seconds, 6)}
    jsonfile.write(task.output / "matches.json", {**answer.as_dict(), **about})
    return Result({"score": answer.matches[0].score, "seconds": seconds}, {"preprocessing": spec.hash})


def _mismatch(error: MismatchError) -> str:
    if error.part == "preprocessing":
        return f"its index has preprocessing {error.found}, but the model has {error.expected}."
    return (
        f"its index holds embeddings of {error.found} values, but the model returns {error.expected}: it belongs to "
        "another model."
    )


def _file(image: str) -> Path:
    file = Path(image)
    # Reading a pipe or a device might never end.
    if not file.is_file():
        raise PokeflowError(f"{image}: no such picture. Give the path of an image file.")
    return file
