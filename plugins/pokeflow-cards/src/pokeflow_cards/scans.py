"""Clean pictures of cards, wherever they come from: what both backends hand to the common part of ``prepare``."""

import shutil
from collections.abc import Mapping
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
"""Width to height of a card: 63 mm × 88 mm."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A card of the CSV that is not in the data set, and why."""

    card_id: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scans:
    """Cards and their references, row by row; ``digests`` are sha256 of the pixels before any resizing.

    ``source`` says where they come from, without paths. ``raw`` says what was read: the folder as YAML names it, its
    fingerprint, and how many files of how many bytes; None where nothing was. ``references`` is uint8 N×H×W×3, on disk.
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


def shape(spec: Preprocessing) -> tuple[int, int]:
    """Height and width of a stored picture: half as large again as the network's input, in a card's proportions."""
    height = round(1.5 * spec.size)
    return height, round(height * ASPECT)


def array(file: Path, count: int, spec: Preprocessing) -> "np.ndarray":
    """A new uint8 array count×H×W×3 in a file: 17,592 pictures need not fit into memory."""
    from numpy.lib.format import open_memmap

    height, width = shape(spec)
    # Once here and once in the result. A disk that fills up under a mapped file would kill the process unheard.
    needed, free = 2 * count * height * width * 3, shutil.disk_usage(file.parent).free
    if needed > free:
        raise PokeflowError(
            f"{file.parent}: {needed / 1e9:.1f} GB are needed for {count} pictures, {free / 1e9:.1f} GB are free. "
            "Make room, or lower data.queries.views or data.preprocessing.size."
        )
    return open_memmap(file, mode="w+", dtype="uint8", shape=(count, height, width, 3))
