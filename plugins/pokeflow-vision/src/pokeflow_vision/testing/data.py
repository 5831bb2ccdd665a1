"""A small data set of drawn cards: mosaics of colours, and views of them that are shifted, dimmed and noisy."""

from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow_vision import dataset
from pokeflow_vision.dataset import CALIBRATION, Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

SPEC = Preprocessing(size=32)
CARDS = {"train": 24, "val": 8, "test": 16}
VIEWS = 3
TILES, TILE = (4, 3), 16
"""Rows and columns of a card's colour tiles, and a tile's side in pixels; pictures are taller than wide, like cards."""


def draw_dataset(*, calibration: bool = True, spec: Preprocessing = SPEC) -> Dataset:
    """Return 48 cards with 3 views each, always the same; without ``calibration``, train cards have no views."""
    import numpy as np

    rng = np.random.default_rng(7)
    splits = [split for split, count in CARDS.items() for _ in range(count)]
    tiles = rng.integers(0, 256, (len(splits), *TILES, 3), np.uint8)
    references = tiles.repeat(TILE, axis=1).repeat(TILE, axis=2)
    cards = tuple(Card(f"card-{i}", f"Card {i}", "drawn", str(i), f"art-{i}", split) for i, split in enumerate(splits))
    views = [(i, view) for i in range(len(cards)) for view in range(VIEWS)]
    pictures = np.stack([_draw_view(references[i], rng) for i, _ in views])
    queries = [Query(f"card-{i}", splits[i].replace("train", CALIBRATION), view) for i, view in views]
    rows = [j for j, query in enumerate(queries) if calibration or query.split != CALIBRATION]
    description = {"name": "drawn mosaics", "seed": 7, "queries": "shifted, dimmed and noisy views"}
    return Dataset(description, spec, cards, references, tuple(queries[j] for j in rows), pictures[rows])


def _draw_view(card: "np.ndarray", rng: "np.random.Generator") -> "np.ndarray":
    import numpy as np

    shifted = np.roll(card, tuple(rng.integers(-2, 3, 2)), axis=(0, 1))
    dimmed = shifted * rng.uniform(0.85, 1.0) + rng.normal(0, 6, card.shape)
    return dimmed.clip(0, 255).astype(np.uint8)


def write(folder: Path, data: Dataset) -> None:
    """Write a data set into a folder as a ``prepare`` task does."""
    dataset.write(folder, data, {})
