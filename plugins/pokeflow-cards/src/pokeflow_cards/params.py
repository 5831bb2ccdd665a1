"""Parameters of both backends, as YAML sets them."""

from dataclasses import dataclass, field

from pokeflow_vision.preprocessing import Preprocessing

MIN_CARDS = 20
"""Fewest cards of a data set: 5 per cent of fewer would leave no card for the test split."""

CONDITIONS = (
    *("crop_0", "crop_2", "crop_4", "crop_8", "loose", "turned_15", "turned_90", "turned_180", "tilted_30"),
    *("glare", "foil", "sleeve", "blur", "noise", "jpeg", "cast", "covered_10", "covered_20", "covered_40"),
    *("mixed", "hard"),
)
"""Conditions of a photo, which ``photo`` defines: single effects first, each alone."""

NEAR_DUPLICATE_BITS = 60
"""Largest Hamming distance of near duplicates, of 256 bits.

Measured on 1,407 scans: below it, cards of one name show the same art; above it, art begins to differ."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Simulated photos of cards.

    Attributes:
        views: Number of queries per val and test card.
        calibration: Number of calibration captures of train cards in total. Every train card is used once before any
            is used a second time.
        strength: Factor of every distortion: 0 leaves the pictures clean, 1 is a phone photo, loosely cropped.

    """

    views: int = 4
    calibration: int = 1024
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Photos:
    """Simulated photos, in which a card must first be detected, for the benchmark of the whole recognizer.

    Attributes:
        cards: Largest number of test cards that are photographed, once under each condition; 0: no photos.
        conditions: Conditions of ``pokeflow_cards.photo``; each gives an accuracy of its own.

    """

    cards: int = 0
    conditions: tuple[str, ...] = CONDITIONS


@dataclass(frozen=True, slots=True)
class SyntheticParams:
    """Parameters of a deck of drawn cards.

    Attributes:
        cards: Number of cards.
        twins: Fraction of cards with a twin: the same art, another print.
        seed: Seed of the drawings, the splits and the queries.
        queries: Simulated photos that the card nearly fills.
        photos: Simulated photos in which the card must be detected.
        preprocessing: Conversion of pictures to the networks' input.

    """

    cards: int = 160
    twins: float = 0.1
    seed: int = 0
    queries: Queries = field(default_factory=Queries)
    photos: Photos = field(default_factory=Photos)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)


@dataclass(frozen=True, slots=True)
class FolderParams:
    """Parameters of a folder of scans.

    Attributes:
        root: Folder that contains the CSV and the images.
        csv: Path of the CSV, relative to ``root``.
        images: Pattern of the images' paths, relative to ``root``; ``{card_id}`` is replaced by the card's id.
        seed: Seed of the selection, the splits and the queries.
        limit: Number of cards to use, selected by ``seed``; None uses all.
        near_duplicates: Largest Hamming distance (of 256 bits) between the perceptual hashes of near duplicates. Near
            duplicates of the same name count as the same art.
        queries: Simulated photos that the card nearly fills.
        photos: Simulated photos in which the card must be detected.
        preprocessing: Conversion of pictures to the networks' input.

    """

    root: str = field(metadata={"digest": False})
    csv: str = "cards.csv"
    images: str = "images/{card_id}.jpg"
    seed: int = 0
    limit: int | None = None
    near_duplicates: int = NEAR_DUPLICATE_BITS
    queries: Queries = field(default_factory=Queries)
    photos: Photos = field(default_factory=Photos)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
