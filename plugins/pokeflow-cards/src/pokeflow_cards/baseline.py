"""The perceptual hash on the photos of a data set: what a network must beat, condition by condition.

``phash256`` compares the whole frame. ``phash256_rectified`` compares all views that the recognizer would: the frame,
what is detected in it, and their half turns.
"""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import progress
from pokeflow_cards import phash
from pokeflow_cards.scans import ASPECT
from pokeflow_vision import photos, protocol, views
from pokeflow_vision.dataset import Card
from pokeflow_vision.photos import Photo
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.protocol import Accuracy, Outcome

if TYPE_CHECKING:
    import numpy as np

FILE = "baselines.csv"
METHODS = ("phash256", "phash256_rectified")
SIZE = 64
"""Side of a view in pixels, from which the hash is computed."""
BLOCK = 64
REPORTED = ("mixed", "hard")
"""Conditions whose baseline accuracy is a metric."""


def measure(folder: Path, codes: "np.ndarray", cards: Sequence[Card]) -> dict[str, float]:
    """Measure both methods on the test photos, write ``baselines.csv``, and return metrics; none without photos.

    Args:
        folder: Folder of the data set, to which the file is written.
        codes: Hashes of the references, float32 N×256 of +1 and −1.
        cards: The N cards.

    """
    import numpy as np

    chosen = [photo for photo in photos.read_list(folder) if photo.split == "test"]
    if not chosen:
        return {}
    hashes: list[np.ndarray] = []
    encoded = photos.read(folder, chosen)
    with progress.bar("hashing photos", len(chosen)) as advance, ThreadPoolExecutor(4) as pool:
        while block := [data for _, data in zip(range(BLOCK), encoded, strict=False)]:
            for codes_of_views in pool.map(hash_views, block):
                hashes.append(codes_of_views)
                advance()
    ids = np.asarray([card.card_id for card in cards])
    arts = np.asarray([card.artwork or card.card_id for card in cards])
    table: list[tuple[str, Accuracy]] = []
    metrics: dict[str, float] = {}
    for method, count in zip(METHODS, (1, None), strict=True):
        outcomes = [_look_up(photo, h[:count], codes, ids, arts) for photo, h in zip(chosen, hashes, strict=True)]
        rows = protocol.accuracies(outcomes)
        table += [(method, row) for row in rows]
        metrics |= {
            f"{method}_{row.condition}_top1_accuracy": row.top1_accuracy for row in rows if row.condition in REPORTED
        }
    _write(folder / FILE, table)
    return metrics


def hash_views(encoded: bytes) -> "np.ndarray":
    """Return the hashes of a photo's views, float32 V×256 of +1 and −1; that of the whole frame comes first."""
    import cv2
    import imagehash
    import numpy as np
    from PIL import Image

    pixels = np.asarray(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR))[..., ::-1].copy()
    squares, _ = views.render(pixels, views.detect(pixels, ASPECT), Preprocessing(size=SIZE), turned=True)
    bits = [imagehash.phash(Image.fromarray(square), hash_size=16).hash.ravel() for square in squares]
    return np.where(np.stack(bits), np.float32(1), np.float32(-1))


def _look_up(photo: Photo, hashes: "np.ndarray", codes: "np.ndarray", ids: "np.ndarray", arts: "np.ndarray") -> Outcome:
    import numpy as np

    scores = (codes @ hashes.T).max(1) / phash.BITS
    best, shown = int(np.argmax(scores)), np.flatnonzero(ids == photo.card_id)
    others = arts != arts[shown[0]] if len(shown) else np.ones(len(arts), bool)
    other = float(scores[others].max()) if others.any() else float(scores.min())
    return Outcome(photo, str(ids[best]) == photo.card_id, not others[best], float(scores[best]), other)


def _write(file: Path, table: Sequence[tuple[str, Accuracy]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["method", *(field.name for field in fields(Accuracy))], lineterminator="\n")
        writer.writeheader()
        for method, row in table:
            writer.writerow({"method": method, **protocol.to_row(row)})
