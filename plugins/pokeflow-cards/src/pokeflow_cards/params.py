"""Parameters of both backends, as YAML sets them."""

from dataclasses import dataclass, field

from pokeflow_vision.preprocessing import Preprocessing

MIN_CARDS = 20
"""Fewest cards of a data set: 5 per cent of fewer would leave no card for the test split."""

NEAR_DUPLICATE_BITS = 60
"""Largest Hamming distance of near duplicates, of 256 bits.

Measured on 1,407 scans: below it, cards of one name show the same art; above it, art begins to differ."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Simulated photos to take: ``views`` of each val and test card, and ``calibration`` of the train cards in total.

    Every train card is used once before any is used a second time. ``strength`` scales every distortion; 0 leaves the
    pictures clean, 1 is a phone photo, loosely cropped.
    """

    views: int = 4
    calibration: int = 1024
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class SyntheticParams:
    """Parameters of a deck of drawn cards; the fraction ``twins`` of the deck reprints another card's art."""

    cards: int = 160
    twins: float = 0.1
    seed: int = 0
    queries: Queries = field(default_factory=Queries)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


@dataclass(frozen=True, slots=True)
class FolderParams:
    """Parameters of a folder of scans.

    ``csv`` and ``images`` are relative to ``root``; ``{card_id}`` in ``images`` stands for the card's id. ``limit`` is
    the number of cards to use, selected by ``seed``; None uses all. Cards whose perceptual hashes differ in at most
    ``near_duplicates`` of 256 bits count as near duplicates, and those with the same name also as the same art.
    """

    root: str = field(metadata={"digest": False})
    csv: str = "cards.csv"
    images: str = "images/{card_id}.jpg"
    seed: int = 0
    limit: int | None = None
    near_duplicates: int = NEAR_DUPLICATE_BITS
    queries: Queries = field(default_factory=Queries)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
