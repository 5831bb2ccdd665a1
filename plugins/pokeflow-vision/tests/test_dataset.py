"""Test that a data set folder round-trips and that an inconsistent one is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_vision import dataset
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing


def small_dataset(artworks: tuple[str, ...] = ("a", "b", "b", "c")) -> Dataset:
    rng = np.random.default_rng(0)
    cards = tuple(Card(f"c{i}", f"name {i}", "set", str(i), art, "test") for i, art in enumerate(artworks))
    queries = tuple(Query(card.card_id, "test", 0) for card in cards)
    images = rng.integers(0, 256, (len(cards), 12, 9, 3), dtype=np.uint8)
    return Dataset({"queries": "views", "name": "x"}, Preprocessing(8), cards, images, queries, images.copy())


@pytest.mark.parametrize(
    ("total", "train", "val", "test"), [(17_592, 14_073, 2_638, 881), (1_407, 1_125, 211, 71), (20, 16, 3, 1)]
)
def test_split_counts_are_80_15_5_percent(total: int, train: int, val: int, test: int) -> None:
    assert dataset.split_counts(total) == {"train": train, "val": val, "test": test}


@given(st.integers(0, 100_000))
def test_split_counts_add_up_to_the_total(total: int) -> None:
    assert sum(dataset.split_counts(total).values()) == total


def test_data_set_round_trips(tmp_path: Path) -> None:
    data = small_dataset()
    dataset.write(tmp_path, data, {"unreadable": []})
    again = dataset.read(tmp_path)
    assert (again.cards, again.queries, again.preprocessing) == (data.cards, data.queries, data.preprocessing)
    np.testing.assert_array_equal(again.references, data.references)


def break_folder(folder: Path, kind: str) -> None:
    if kind == "pickle":
        np.save(folder / "references.npy", np.array([{"x": 1}] * 4, dtype=object), allow_pickle=True)
    elif kind == "short":
        np.save(folder / "queries.npy", np.zeros((1, 2, 2, 3), np.uint8))
    elif kind == "no csv":
        (folder / "cards.csv").unlink()
    elif kind == "other columns":
        (folder / "cards.csv").write_text("id,name\n1,x\n")


@pytest.mark.parametrize("kind", ["pickle", "short", "no csv", "other columns"])
def test_inconsistent_data_set_is_refused(tmp_path: Path, kind: str) -> None:
    dataset.write(tmp_path, small_dataset(), {})
    break_folder(tmp_path, kind)
    with pytest.raises(PokeflowError):
        dataset.read(tmp_path)
