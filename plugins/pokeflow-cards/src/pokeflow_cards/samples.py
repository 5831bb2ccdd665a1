"""Contact sheet: references next to their photos, for people to look at."""

from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow_vision.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FILE = "samples.jpg"
TILE = (158, 220)
CARDS, VIEWS, ACROSS = 12, 4, 2
GAP = 6


def write(folder: Path, data: Dataset) -> None:
    """Write a JPEG of up to twelve test cards, each as its reference followed by up to four of its query views."""
    from PIL import Image

    test = data.cards_of("test")
    # Spread over the list: sets differ in style.
    cards = [test[i * len(test) // CARDS] for i in range(CARDS)] if len(test) > CARDS else test
    views: dict[str, list[int]] = {data.cards[row].card_id: [] for row in cards}
    for row in data.queries_of("test"):
        if data.queries[row].card_id in views:
            views[data.queries[row].card_id].append(row)
    columns = 1 + min(VIEWS, max(map(len, views.values()), default=0))
    lines = -(-len(cards) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * (columns * TILE[0] + 4 * GAP), lines * (TILE[1] + GAP) + GAP), (40, 40, 44))
    for position, row in enumerate(cards):
        left = position % ACROSS * (columns * TILE[0] + 4 * GAP) + GAP
        top = position // ACROSS * (TILE[1] + GAP) + GAP
        sheet.paste(_tile(data.references[row]), (left, top))
        for i, query in enumerate(views[data.cards[row].card_id][:VIEWS], 1):
            sheet.paste(_tile(data.query_images[query]), (left + GAP + i * TILE[0], top))
    sheet.save(folder / FILE, quality=90)


def _tile(image: "np.ndarray") -> "Image.Image":
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.asarray(image)).resize((TILE[0] - 2, TILE[1]), Image.Resampling.LANCZOS)
