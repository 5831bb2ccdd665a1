import numpy as np
import pytest
from PIL import Image

from pokeflow_cards import samples
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing


@pytest.mark.parametrize(("cards", "views", "tiles"), [(1, 1, (2, 1)), (3, 4, (5, 2)), (40, 9, (5, 6))])
def test_sample_sheet_has_a_reference_and_its_captures_per_row(tmp_path, cards, views, tiles) -> None:
    rows = tuple(Card(f"c{i}", "n", "s", str(i), "", "test") for i in range(cards))
    queries = tuple(Query(f"c{i}", "test", view) for i in range(cards) for view in range(views))
    red = np.full((cards, 48, 34, 3), (200, 0, 0), np.uint8)
    blue = np.full((cards * views, 48, 34, 3), (0, 0, 200), np.uint8)
    samples.write(tmp_path, Dataset({}, Preprocessing(), rows, red, queries, blue))
    with Image.open(tmp_path / samples.FILE) as sheet:
        across, down = tiles
        assert sheet.size == (2 * (across * 158 + 24), down * 226 + 6)
        pixels = np.asarray(sheet).astype(int)
    assert pixels[100, 80, 0] > 150 > pixels[100, 80, 2]
    assert pixels[100, 240, 2] > 150 > pixels[100, 240, 0]
