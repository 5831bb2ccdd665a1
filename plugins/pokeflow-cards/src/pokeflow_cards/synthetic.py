"""The drawn deck: its cards, its twins and their pictures."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pokeflow import progress
from pokeflow_cards import draw
from pokeflow_cards.draw import Face
from pokeflow_cards.params import SyntheticParams
from pokeflow_cards.random_streams import Purpose, generator
from pokeflow_cards.scans import Scans, array, shape
from pokeflow_vision.dataset import Card

if TYPE_CHECKING:
    import numpy as np

SET_SIZE = 60
SYLLABLES = ("ka", "mi", "ro", "zu", "ter", "plo", "ven", "dra", "shi", "lum", "gor", "ny", "bel", "fa", "qui", "tor")
WORDS = [
    "draw",
    "a",
    "card",
    "flip",
    "two",
    "coins",
    "this",
    "attack",
    "does",
    "damage",
    "to",
    "each",
    "of",
    "the",
    "other",
    "side",
    "heads",
    "the",
    "defending",
    "one",
    "sleeps",
    "until",
    "next",
    "turn",
    "discard",
    "energy",
    "from",
    "your",
    "hand",
    "search",
    "deck",
    "shuffle",
    "afterwards",
    "choose",
    "one",
    "bench",
    "heal",
    "remove",
    "counters",
]


@dataclass(frozen=True, slots=True)
class Printing:
    """A card of the deck: its row in the data set, its face, and the card whose art it shows (itself or a twin)."""

    card: Card
    face: Face


def deck(params: SyntheticParams) -> tuple[Printing, ...]:
    """Return every card: originals first, then twins that reprint the art and the name of one of them."""
    twins = round(params.cards * params.twins)
    originals = [_original(params.seed, row) for row in range(params.cards - twins)]
    return (*originals, *(_twin(params.seed, originals[i], len(originals) + i) for i in range(twins)))


def _identity(row: int) -> tuple[str, str]:
    """Return the set and the number of the card in a row."""
    return f"DRW{row // SET_SIZE + 1}", f"{row % SET_SIZE + 1:03}/{SET_SIZE:03}"


def _original(seed: int, row: int) -> Printing:
    set, number = _identity(row)
    card_id = f"drw-{row + 1}"
    rng = generator(seed, card_id, Purpose.PRINT)
    name = "".join(rng.choice(SYLLABLES, rng.integers(2, 5))).capitalize()
    attacks = tuple(
        (
            " ".join(rng.choice(WORDS, 2)).title(),
            int(rng.integers(1, 13)) * 10,
            " ".join(rng.choice(WORDS, rng.integers(0, 18))).capitalize(),
        )
        for _ in range(rng.integers(1, 3))
    )
    face = Face(
        name=name,
        type=str(rng.choice(list(draw.TYPES))),
        hp=int(rng.integers(3, 34)) * 10,
        set=set,
        number=number,
        border=int(rng.integers(len(draw.BORDERS))),
        full_art=bool(rng.random() < 0.25),
        holo=str(rng.choice(draw.HOLOS, p=(0.5, 0.15, 0.15, 0.1, 0.1))),
        attacks=attacks,
    )
    return Printing(Card(card_id, name, set, number, card_id, ""), face)


def _twin(seed: int, original: Printing, row: int) -> Printing:
    set, number = _identity(row)
    card_id = f"drw-{row + 1}"
    rng = generator(seed, card_id, Purpose.PRINT)
    other_holos = [holo for holo in draw.HOLOS if holo != original.face.holo]
    face = Face(
        name=original.face.name,
        type=original.face.type,
        hp=original.face.hp,
        set=set,
        number=number,
        border=(original.face.border + int(rng.integers(1, len(draw.BORDERS)))) % len(draw.BORDERS),
        full_art=original.face.full_art,
        holo=str(rng.choice(other_holos)),
        attacks=original.face.attacks,
    )
    return Printing(Card(card_id, face.name, set, number, original.card.artwork, ""), face)


def scans(params: SyntheticParams, work: Path) -> Scans:
    """Draw the deck's pictures into a file in ``work``, and return the deck with them."""
    height, _ = shape(params.preprocessing)
    printings = deck(params)
    references = array(work / "references.npy", len(printings), params.preprocessing)

    def draw_card(printing: Printing) -> "np.ndarray":
        return draw.draw(printing.face, generator(params.seed, printing.card.artwork, Purpose.ART), height)

    digests = []
    with progress.bar("drawing cards", len(printings)) as advance, ThreadPoolExecutor(4) as pool:
        for row, picture in enumerate(pool.map(draw_card, printings)):
            references[row] = picture
            digests.append(hashlib.sha256(picture.tobytes()).hexdigest())
            advance()
    return Scans(
        name="synthetic",
        source={"deck": f"{params.cards} drawn cards, {params.twins:g} of them twins, seed {params.seed}"},
        cards=tuple(printing.card for printing in printings),
        has_artwork=True,
        references=references,
        digests=tuple(digests),
    )
