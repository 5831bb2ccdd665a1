"""Photos of a data set: which cards are photographed under which conditions, and their rendering."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pokeflow import progress
from pokeflow_cards.params import Photos
from pokeflow_cards.random_streams import Purpose, generator
from pokeflow_cards.scans import Scans
from pokeflow_cards.splits import order
from pokeflow_vision.photos import Photo
from pokeflow_vision.protocol import OPEN_SET

if TYPE_CHECKING:
    import numpy as np

EMPTY = "empty"
"""Condition of a photo without a card."""
BLOCK = 64
WORKERS = 4


def plan(seed: int, split_of: Mapping[str, str], params: Photos) -> tuple[Photo, ...]:
    """Return the photos to take.

    Each of the first test cards, in an order set by the seed, is photographed once under each condition. For the
    threshold, as many val cards are photographed under the condition ``mixed``. Both splits get half as many photos
    without a card.
    """
    photos = []
    for split, conditions in (("val", (OPEN_SET,)), ("test", params.conditions)):
        cards = order(seed, (card for card, other in split_of.items() if other == split))[: params.cards]
        for condition in conditions:
            photos += [Photo(_name(split, condition, card), condition, card, split) for card in cards]
        photos += [Photo(_name(split, EMPTY, str(i)), EMPTY, "", split) for i in range((len(cards) + 1) // 2)]
    return tuple(photos)


def _name(split: str, condition: str, card: str) -> str:
    """Return the name of a photo in the archive; a card's id may hold any character."""
    safe = "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):x}" for c in card)
    return f"{split}/{condition}/{safe}.jpg"


def render(photos: tuple[Photo, ...], scans: Scans, seed: int) -> Iterator[tuple[Photo, bytes]]:
    """Yield each photo with its JPEG, whose random numbers depend only on the seed, its card and its condition."""
    from pokeflow_cards import photo as simulator

    row_of = {card.card_id: row for row, card in enumerate(scans.cards)}
    numbers = {name: number for number, name in enumerate(simulator.CONDITIONS)}

    def render_one(photo: Photo) -> bytes:
        if not photo.card_id:
            return simulator.render_empty(simulator.CONDITIONS[OPEN_SET], generator(seed, photo.name, Purpose.PHOTO))
        rng = generator(seed, photo.card_id, Purpose.PHOTO, numbers[photo.condition])
        return simulator.render(_picture(scans, row_of[photo.card_id]), simulator.CONDITIONS[photo.condition], rng).jpeg

    with progress.bar("taking photos", len(photos)) as advance, ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(photos), BLOCK):
            block = photos[start : start + BLOCK]
            for photo, jpeg in zip(block, pool.map(render_one, block), strict=True):
                advance()
                yield photo, jpeg


def _picture(scans: Scans, row: int) -> "np.ndarray":
    return scans.references[row] if scans.original is None else scans.original(row)
