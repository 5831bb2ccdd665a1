"""Assignment of cards to splits, in an order that depends only on the seed and the card's id."""

import hashlib
from collections.abc import Iterable, Sequence

from pokeflow_vision.dataset import split_counts


def order(seed: int, card_ids: Iterable[str]) -> list[str]:
    """Return card ids in the order of sha256("seed:card_id"), pseudo-random and independent of the cards' source."""
    return sorted(card_ids, key=lambda card_id: hashlib.sha256(f"{seed}:{card_id}".encode()).digest())


def assign(seed: int, card_ids: Sequence[str], artworks: Sequence[str] = ()) -> dict[str, str]:
    """Return the split of each card id: train, val or test, 80/15/5.

    Cards that show the same art are in the same split, so that no test card's art was trained on. They go where their
    first card belongs or, if that split has too little room left, to the next one that has. A card that is added later
    moves only cards next to a border between two splits.

    Args:
        seed: Seed of the order.
        card_ids: The cards.
        artworks: The art of each card, empty if unknown; without it every card has an art of its own.

    """
    art_of = dict(zip(card_ids, artworks or [""] * len(card_ids), strict=True))
    groups: dict[str, list[str]] = {}
    for card_id in order(seed, card_ids):
        art = f"art {art_of[card_id]}" if art_of[card_id] else f"card {card_id}"
        groups.setdefault(art, []).append(card_id)
    room = split_counts(len(card_ids))
    split_of: dict[str, str] = {}
    for group in groups.values():
        split = next((split for split, left in room.items() if left >= len(group)), "train")
        room[split] -= len(group)
        split_of |= dict.fromkeys(group, split)
    return split_of
