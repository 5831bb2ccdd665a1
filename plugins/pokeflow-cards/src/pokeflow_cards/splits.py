"""Assignment of cards to splits, in an order that depends only on the seed and the card's id."""

import hashlib
from collections.abc import Iterable, Sequence

from pokeflow_vision.dataset import split_counts


def order(seed: int, card_ids: Iterable[str]) -> list[str]:
    """Return card ids in the order of sha256("seed:card_id"), pseudo-random and independent of the cards' source."""
    return sorted(card_ids, key=lambda card_id: hashlib.sha256(f"{seed}:{card_id}".encode()).digest())


def assign(seed: int, card_ids: Sequence[str]) -> dict[str, str]:
    """Return the split of each card id: train, val or test, 80/15/5.

    A card that is added later moves only cards next to a border between two splits.
    """
    split_of: dict[str, str] = {}
    remaining = iter(order(seed, card_ids))
    for split, count in split_counts(len(card_ids)).items():
        split_of |= {next(remaining): split for _ in range(count)}
    return split_of
