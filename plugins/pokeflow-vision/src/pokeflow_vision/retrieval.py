"""Recognition protocol: each query is compared with every reference, and its nearest must be its own card."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pokeflow_vision.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np


def normalize_rows(embeddings: "np.ndarray") -> "np.ndarray":
    """Scale each row of N×D embeddings to length 1, as float32; a zero row stays zero."""
    import numpy as np

    rows = np.asarray(embeddings, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def nearest(
    queries: "np.ndarray", gallery: "np.ndarray", k: int, block: int = 1024
) -> tuple["np.ndarray", "np.ndarray"]:
    """Return the k most similar gallery rows of each query by cosine, best first; the search is exact.

    Equal scores go to the lower gallery row. Memory use grows with ``block`` × N.

    Args:
        queries: Embeddings, M×D, of any norm.
        gallery: Embeddings, N×D, of any norm.
        k: Number of rows for each query; N if the gallery has fewer.
        block: Number of queries that are compared at once.

    Returns:
        Gallery rows, int64 M×k, and cosines, float32 M×k.

    """
    import numpy as np

    k = min(k, len(gallery))
    gallery = normalize_rows(gallery)
    queries = normalize_rows(queries)
    indices = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), block):
        similarity = queries[start : start + block] @ gallery.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        indices[start : start + block] = order
        scores[start : start + block] = np.take_along_axis(similarity, order, axis=1)
    return indices, scores


def accuracy(nearest_rows: "np.ndarray", data: Dataset, queries: Sequence[int]) -> dict[str, float | None]:
    """Return the accuracies of a search, as fractions of the queries.

    ``top1_accuracy`` and ``top5_accuracy`` require the exact printing; ``artwork_top1_accuracy`` also accepts a twin
    with the same art, and is None if the data set does not say which cards are twins.

    Args:
        nearest_rows: Gallery rows of each query, int M×k, best first.
        data: The data set.
        queries: The M rows of ``data.queries``.

    """
    import numpy as np

    truth = _truth(data, queries)
    hits = nearest_rows == truth[:, None]
    result: dict[str, float | None] = {
        "top1_accuracy": top1_accuracy(nearest_rows, data, queries),
        "top5_accuracy": float(hits[:, :5].any(axis=1).mean()),
        "artwork_top1_accuracy": None,
    }
    artworks = np.asarray([card.artwork for card in data.cards])
    if all(card.artwork for card in data.cards):
        result["artwork_top1_accuracy"] = float((artworks[nearest_rows[:, 0]] == artworks[truth]).mean())
    return result


def top1_accuracy(nearest_rows: "np.ndarray", data: Dataset, queries: Sequence[int]) -> float:
    """Return the fraction of queries whose first gallery row (of M×k) is the exact printing."""
    return float((nearest_rows[:, 0] == _truth(data, queries)).mean())


def _truth(data: Dataset, queries: Sequence[int]) -> "np.ndarray":
    """Return the gallery row of the card that each query shows."""
    import numpy as np

    row_of = {card.card_id: i for i, card in enumerate(data.cards)}
    return np.asarray([row_of[data.queries[j].card_id] for j in queries])


def shared_artwork(data: Dataset, split: str) -> int | None:
    """Return the number of a split's cards that share their art with a train card; None if a card's art is unknown."""
    return _twins(data, split) if all(card.artwork for card in data.cards) else None


def _twins(data: Dataset, split: str) -> int:
    train_artworks = {card.artwork for card in data.cards if card.split == "train"} - {""}
    return sum(card.split == split and card.artwork in train_artworks for card in data.cards)


def protocol(data: Dataset, split: str) -> str:
    """Return the sentence that must accompany every accuracy."""
    cards, queries = len(data.cards_of(split)), len(data.queries_of(split))
    twins = _twins(data, split)
    return (
        f"{queries} query views ({data.about['queries']}) of {cards} {split} cards against "
        f"{len(data.cards)} references, one per card; nearest by cosine; exact printing; "
        f"{twins} of the cards share their art with a train card"
    )
