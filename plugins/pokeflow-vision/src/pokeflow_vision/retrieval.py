"""The recognition protocol: each query is compared with every reference; its nearest must be its own card."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pokeflow_vision.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np


def normalized(embeddings: "np.ndarray") -> "np.ndarray":
    """Rows scaled to length 1, float32; a zero row stays zero."""
    import numpy as np

    rows = np.asarray(embeddings, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def nearest(
    queries: "np.ndarray", gallery: "np.ndarray", k: int, block: int = 1024
) -> tuple["np.ndarray", "np.ndarray"]:
    """The k most similar gallery rows of each query by cosine, best first: (indices M×k, scores M×k). Exact.

    Equal scores go to the lower gallery row. Memory is block × gallery.
    """
    import numpy as np

    k = min(k, len(gallery))
    gallery = normalized(gallery)
    queries = normalized(queries)
    indices = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    for start in range(0, len(queries), block):
        similarity = queries[start : start + block] @ gallery.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        indices[start : start + block] = order
        scores[start : start + block] = np.take_along_axis(similarity, order, axis=1)
    return indices, scores


def accuracy(found: "np.ndarray", data: Dataset, queries: Sequence[int]) -> dict[str, float | None]:
    """Share of queries answered right, from gallery rows per query (M×k, best first).

    ``top1_accuracy`` and ``top5_accuracy`` ask for the exact printing; ``artwork_top1_accuracy`` takes a twin
    with the same art as right, and is None where the data set does not say which cards are twins.
    """
    import numpy as np

    truth = _truth(data, queries)
    hits = found == truth[:, None]
    result: dict[str, float | None] = {
        "top1_accuracy": top1_accuracy(found, data, queries),
        "top5_accuracy": float(hits[:, :5].any(axis=1).mean()),
        "artwork_top1_accuracy": None,
    }
    artworks = np.asarray([card.artwork for card in data.cards])
    if all(card.artwork for card in data.cards):
        result["artwork_top1_accuracy"] = float((artworks[found[:, 0]] == artworks[truth]).mean())
    return result


def top1_accuracy(found: "np.ndarray", data: Dataset, queries: Sequence[int]) -> float:
    """Share of queries whose first row (of M×k) is the exact printing."""
    return float((found[:, 0] == _truth(data, queries)).mean())


def _truth(data: Dataset, queries: Sequence[int]) -> "np.ndarray":
    """The gallery row that each query shows."""
    import numpy as np

    row_of = {card.card_id: i for i, card in enumerate(data.cards)}
    return np.asarray([row_of[data.queries[j].card_id] for j in queries])


def shared_artwork(data: Dataset, split: str) -> int | None:
    """How many cards of a split share their art with a card of the train split; None where a card's art is unknown."""
    return _twins(data, split) if all(card.artwork for card in data.cards) else None


def _twins(data: Dataset, split: str) -> int:
    trained = {card.artwork for card in data.cards if card.split == "train"} - {""}
    return sum(card.split == split and card.artwork in trained for card in data.cards)


def protocol(data: Dataset, split: str) -> str:
    """The sentence that must stand beside every accuracy."""
    cards, queries = len(data.cards_of(split)), len(data.queries_of(split))
    twins = _twins(data, split)
    return (
        f"{queries} query views ({data.about['queries']}) of {cards} {split} cards against "
        f"{len(data.cards)} references, one a card; nearest by cosine; exact printing; "
        f"{twins} of the cards share their art with a train card"
    )
