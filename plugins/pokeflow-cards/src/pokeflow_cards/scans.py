"""Clean pictures of cards from any source, as both backends pass them to the common part of ``prepare``."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow import PokeflowError
from pokeflow_cards.catalog import Repeat
from pokeflow_vision.dataset import Card
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

ASPECT = 63 / 88
"""Ratio of a card's width to its height: 63 mm to 88 mm."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A card of the CSV that is not in the data set, with the reason."""

    card_id: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scans:
    """Cards and their references, row by row.

    ``references`` is uint8 N×H×W×3 RGB, memory-mapped from disk; ``digests`` are the sha256 of the pixels before any
    resizing. ``source`` describes the origin of the cards, without paths. ``raw`` describes the files that were read:
    the folder as YAML names it, its fingerprint, the number of files and their size in bytes; None if no file was read.
    ``original`` returns the picture of a row in the size of its file, uint8 H×W×3; None if there is no larger picture
    than the reference.
    """

    name: str
    source: Mapping[str, Any]
    cards: tuple[Card, ...]
    has_artwork: bool
    references: "np.ndarray"
    digests: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    raw: Mapping[str, Any] | None = None
    original: "Callable[[int], np.ndarray] | None" = None


def shape(spec: Preprocessing) -> tuple[int, int]:
    """Return height and width of a stored picture: 1.5 times the input's height, in a card's proportions."""
    height = round(1.5 * spec.size)
    return height, round(height * ASPECT)


def array(file: Path, count: int, spec: Preprocessing) -> "np.ndarray":
    """Create an .npy of uint8 count×H×W×3, memory-mapped because 17,592 pictures need not fit into memory.

    Raises:
        PokeflowError: The disk has too little free space.

    """
    from numpy.lib.format import open_memmap

    height, width = shape(spec)
    # Twice: once here and once in the result. A disk that fills up under a mapped file would kill the process.
    needed, free = 2 * count * height * width * 3, shutil.disk_usage(file.parent).free
    if needed > free:
        raise PokeflowError(
            f"{file.parent}: {needed / 1e9:.1f} GB are needed for {count} pictures, {free / 1e9:.1f} GB are free. "
            "Make room, or lower data.queries.views or data.preprocessing.size."
        )
    return open_memmap(file, mode="w+", dtype="uint8", shape=(count, height, width, 3))
