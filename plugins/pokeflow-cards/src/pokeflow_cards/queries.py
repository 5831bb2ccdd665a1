"""Query views: simulated photos of val and test cards, and of train cards for calibration."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import progress
from pokeflow_cards.capture import capture
from pokeflow_cards.params import Queries
from pokeflow_cards.random_streams import Purpose, generator
from pokeflow_cards.scans import Scans, array, shape
from pokeflow_cards.splits import order
from pokeflow_vision.dataset import CALIBRATION, Query
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

BLOCK = 64


def plan(seed: int, split_of: Mapping[str, str], params: Queries) -> tuple[Query, ...]:
    """Return the views to take: ``views`` of each val and test card, and calibration views of train cards.

    Calibration views take the train cards in an order set by the seed, one view each, and then start again.
    """
    evaluation = tuple(
        Query(card_id, split, view)
        for target in ("val", "test")
        for card_id, split in split_of.items()
        if split == target
        for view in range(params.views)
    )
    train = order(seed, (card_id for card_id, split in split_of.items() if split == "train"))
    again = [divmod(i, len(train)) for i in range(params.calibration if train else 0)]
    return evaluation + tuple(Query(train[card], CALIBRATION, view) for view, card in again)


def render_queries(
    queries: tuple[Query, ...], scans: Scans, seed: int, strength: float, spec: Preprocessing, file: Path
) -> "np.ndarray":
    """Render the query views into an .npy, and return them memory-mapped as uint8 M×H×W×3 RGB.

    The random numbers of a view depend only on its card, its purpose (query or calibration), its number and the seed.

    Args:
        queries: The M views.
        scans: Cards and references.
        seed: Seed of the data set.
        strength: Scale of every distortion; 0 leaves the pictures clean.
        spec: Preprocessing that sets height and width.
        file: The .npy to write.

    """
    row_of = {card.card_id: row for row, card in enumerate(scans.cards)}
    images = array(file, len(queries), spec)
    height, _ = shape(spec)

    def render(query: Query) -> "np.ndarray":
        purpose = Purpose.CALIBRATION if query.split == CALIBRATION else Purpose.QUERY
        rng = generator(seed, query.card_id, purpose, query.view)
        return capture(scans.references[row_of[query.card_id]], rng, strength, height)

    with progress.bar("rendering queries", len(queries)) as advance, ThreadPoolExecutor(4) as pool:
        for start in range(0, len(queries), BLOCK):
            for row, picture in enumerate(pool.map(render, queries[start : start + BLOCK]), start):
                images[row] = picture
                advance()
    return images
