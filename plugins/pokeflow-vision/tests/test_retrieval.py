"""Test the recognition protocol: exact search by cosine, and the accuracies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pokeflow_vision import retrieval
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing


def small_dataset(artworks: tuple[str, ...] = ("a", "b", "b", "c")) -> Dataset:
    rng = np.random.default_rng(0)
    cards = tuple(Card(f"c{i}", f"name {i}", "set", str(i), art, "test") for i, art in enumerate(artworks))
    queries = tuple(Query(card.card_id, "test", 0) for card in cards)
    images = rng.integers(0, 256, (len(cards), 12, 9, 3), dtype=np.uint8)
    return Dataset({"queries": "views", "name": "x"}, Preprocessing(8), cards, images, queries, images.copy())


vectors = hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(4)), elements=st.floats(-5, 5, width=32))


@given(vectors, vectors)
def test_search_is_exact_and_ordered(queries: np.ndarray, gallery: np.ndarray) -> None:
    indices, scores = retrieval.nearest(queries, gallery, 5, block=3)
    similarity = retrieval.normalize_rows(queries) @ retrieval.normalize_rows(gallery).T
    np.testing.assert_allclose(scores[:, 0], similarity.max(axis=1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    assert all(len(set(row)) == len(row) for row in indices)


def test_rows_are_normalized_and_zero_rows_stay_zero() -> None:
    rows = retrieval.normalize_rows(np.array([[3, 4], [0, 0], [1e-12, 0]]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-5)


def test_scores_are_cosines_and_ignore_length() -> None:
    gallery = np.array([[0, 9], [5, 0], [1, 1]])
    indices, scores = retrieval.nearest(np.array([[2, 0]]), gallery, 3)
    assert (indices.dtype, scores.dtype) == (np.int64, np.float32)
    assert indices.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(scores, [[1, 0.5**0.5, 0]], atol=1e-6)


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_equal_scores_are_ordered_by_row(block) -> None:
    # Long enough for an unstable sort to mix equal scores.
    gallery = np.tile([[1.0, 0.0], [0.0, 1.0]], (50, 1))
    indices, _ = retrieval.nearest(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), gallery, 60, block)
    assert indices[0].tolist() == [*range(0, 100, 2), *range(1, 20, 2)]
    assert indices[1].tolist() == [*range(1, 100, 2), *range(0, 20, 2)]
    assert indices[2].tolist() == list(range(60))


def test_at_most_the_whole_gallery_is_returned() -> None:
    indices, scores = retrieval.nearest(np.eye(2), np.eye(2), 5)
    assert indices.shape == scores.shape == (2, 2)


def test_accuracy_separates_exact_printing_from_artwork() -> None:
    data = small_dataset()
    perfect = np.array([[0, 1], [1, 0], [2, 0], [3, 0]])
    assert retrieval.accuracy(perfect, data, range(4)) == {
        "top1_accuracy": 1.0,
        "top5_accuracy": 1.0,
        "artwork_top1_accuracy": 1.0,
    }
    twins_swapped = np.array([[0, 1], [2, 1], [1, 3], [0, 1]])
    assert retrieval.accuracy(twins_swapped, data, range(4)) == {
        "top1_accuracy": 0.25,
        "top5_accuracy": 0.5,
        "artwork_top1_accuracy": 0.75,
    }


def test_artwork_accuracy_is_unknown_without_artworks() -> None:
    data = small_dataset(("", "", "", ""))
    assert retrieval.accuracy(np.array([[0], [1], [2], [3]]), data, range(4))["artwork_top1_accuracy"] is None


@pytest.mark.parametrize(("position", "top1", "top5"), [(0, 1.0, 1.0), (1, 0.0, 1.0), (4, 0.0, 1.0), (5, 0.0, 0.0)])
def test_top5_counts_only_the_first_five_rows(position, top1, top5) -> None:
    data = small_dataset(tuple("abcdefgh"))
    others = [row for row in range(8) if row != 3]
    rows = np.array([[*others[:position], 3, *others[position:]]])
    accuracy = retrieval.accuracy(rows, data, [3])
    assert (accuracy["top1_accuracy"], accuracy["top5_accuracy"]) == (top1, top5)


def test_accuracy_is_a_share_of_the_queries() -> None:
    data = small_dataset()
    rows = np.array([[1], [0], [2]])
    assert retrieval.top1_accuracy(rows, data, [1, 2, 2]) == pytest.approx(2 / 3)
    assert retrieval.accuracy(rows, data, [1, 2, 2])["top1_accuracy"] == pytest.approx(2 / 3)
    assert retrieval.accuracy(rows, data, [1, 2, 2])["artwork_top1_accuracy"] == pytest.approx(2 / 3)


def test_one_unknown_artwork_makes_artwork_accuracy_unknown() -> None:
    data = small_dataset(("a", "", "b", "b"))
    assert retrieval.accuracy(np.array([[0]]), data, [0])["artwork_top1_accuracy"] is None
    assert retrieval.shared_artwork(data, "test") is None


def of_splits(*parts: tuple[str, str]) -> Dataset:
    """Return a data set of cards with these artworks and splits; each card outside train has two query views."""
    cards = tuple(Card(f"c{i}", "n", "s", "1", art, split) for i, (art, split) in enumerate(parts))
    queries = tuple(Query(card.card_id, card.split, view) for card in cards if card.split != "train" for view in (0, 1))
    none = np.zeros((0, 1, 1, 3), np.uint8)
    return Dataset({"queries": "drawn views"}, Preprocessing(8), cards, none, queries, none)


TWINS = of_splits(
    ("a", "train"), ("b", "train"), ("a", "test"), ("a", "test"), ("c", "test"), ("b", "val"), ("d", "val")
)


def test_shared_artwork_counts_cards_of_a_split() -> None:
    assert retrieval.shared_artwork(TWINS, "test") == 2
    assert retrieval.shared_artwork(TWINS, "val") == 1
    assert retrieval.shared_artwork(of_splits(("a", "train"), ("b", "test")), "test") == 0


def test_protocol_counts_views_cards_references_and_shared_art() -> None:
    assert retrieval.protocol(TWINS, "test") == (
        "6 query views (drawn views) of 3 test cards against 7 references, one per card; nearest by cosine; "
        "exact printing; 2 of the cards share their art with a train card"
    )


def test_protocol_ignores_cards_of_unknown_artwork() -> None:
    assert "; 0 of the cards share" in retrieval.protocol(of_splits(("", "train"), ("", "test")), "test")
