"""Which card belongs to which split: by card, in an order that only the seed and the card's id decide."""

import hashlib
from collections.abc import Iterable, Sequence

from pokeflow_vision.dataset import split_counts


def order(seed: int, card_ids: Iterable[str]) -> list[str]:
    """Card ids in the order of sha256(seed, card_id): random to the eye, the same wherever the cards come from."""
    return sorted(card_ids, key=lambda card_id: hashlib.sha256(f"{seed}:{card_id}".encode()).digest())


def assign(seed: int, card_ids: Sequence[str]) -> dict[str, str]:
    """Card id → train, val or test, 80/15/5. A card that joins later moves only cards beside a border."""
    split_of: dict[str, str] = {}
    rest = iter(order(seed, card_ids))
    for split, count in split_counts(len(card_ids)).items():
        split_of |= {next(rest): split for _ in range(count)}
    return split_of
