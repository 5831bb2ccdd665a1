"""Stage ``recognize``: which cards one picture may show, from the gallery that a benchmark left."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import PokeflowError, Result, Task
from pokeflow.images import index, preprocessing, retrieval
from pokeflow_onnxruntime.session import FILE, embed, model_input, opened

if TYPE_CHECKING:
    from pokeflow_onnxruntime import RecognizeParams


def run(task: Task) -> Result:
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
    network = opened(model.folder / FILE, spec, threads=0)
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
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    (task.output / "matches.json").write_text(text + "\n", encoding="utf-8")
    return Result({"score": float(scores[0]), "seconds": seconds}, {"preprocessing": spec.hash})


def _file(image: str) -> Path:
    file = Path(image)
    # A pipe or a device could be read for ever.
    if not file.is_file():
        raise PokeflowError(f"{image}: no such picture. Give the path of an image file.")
    return file
