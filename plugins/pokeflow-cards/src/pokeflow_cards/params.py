"""The parameters of both backends, as YAML gives them."""

from dataclasses import dataclass, field

from pokeflow_vision.preprocessing import Preprocessing

MIN_CARDS = 20
"""With fewer, the 5 per cent that test would be no card at all."""

NEAR_DUPLICATE_BITS = 60
"""Of 256. Measured on 1,407 scans: below it, cards of one name show the same art; above it, art begins to differ."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Which simulated photos are taken: ``views`` of each val and test card, ``calibration`` of train cards.

    No train card gives a second one before each has given one. ``strength`` scales every distortion; 0 leaves the
    pictures clean, 1 is a phone photo, loosely cropped.
    """

    views: int = 4
    calibration: int = 1024
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class SyntheticParams:
    """A deck of drawn cards; the share ``twins`` of it reprints another card's art."""

    cards: int = 160
    twins: float = 0.1
    seed: int = 0
    queries: Queries = field(default_factory=Queries)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


@dataclass(frozen=True, slots=True)
class FolderParams:
    """A folder of scans: ``csv`` and ``images`` are relative to ``root``, ``{card_id}`` stands for the card's id.

    ``limit`` takes that many cards, drawn by ``seed``. Cards whose perceptual hashes differ in at most
    ``near_duplicates`` of 256 bits count as near duplicates; those with the same name, as the same art.
    """

    root: str = field(metadata={"digest": False})
    csv: str = "cards.csv"
    images: str = "images/{card_id}.jpg"
    seed: int = 0
    limit: int | None = None
    near_duplicates: int = NEAR_DUPLICATE_BITS
    queries: Queries = field(default_factory=Queries)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
