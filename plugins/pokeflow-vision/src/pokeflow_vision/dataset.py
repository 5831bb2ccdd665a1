"""Output folder of a ``prepare`` task: references, query views and splits, readable by every backend.

dataset.json        name, seed, counts per split, protocol
preprocessing.json  the one preprocessing spec
cards.csv           card_id, name, set, number, artwork, split         row i ↔ references[i]
references.npy      uint8 N×H×W×3 RGB, one clean image per card
queries.csv         card_id, split, view                               row j ↔ queries[j]
queries.npy         uint8 M×H×W×3 RGB, other images of the same cards (captures)
validation.json     unreadable files, exact and near duplicates, label clashes
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow_vision import preprocessing
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")
# Split of query views of train cards: quantizers calibrate on pictures like those of a camera.
CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True)
class Card:
    """One printing of a card. Cards with the same ``artwork`` (empty: unknown) are twins: same art, another print."""

    card_id: str
    name: str
    set: str
    number: str
    artwork: str
    split: str


@dataclass(frozen=True, slots=True)
class Query:
    """One view of a card, an image other than its reference; ``split`` is val, test or calibration."""

    card_id: str
    split: str
    view: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A prepared data set.

    ``references`` is uint8 N×H×W×3 RGB, row i for ``cards[i]``; ``query_images`` is uint8 M×H×W×3 RGB, row j for
    ``queries[j]``. ``read`` memory-maps both arrays, so that slicing reads only the selected rows.
    """

    about: Mapping[str, Any]
    preprocessing: Preprocessing
    cards: tuple[Card, ...]
    references: "np.ndarray"
    queries: tuple[Query, ...]
    query_images: "np.ndarray"

    @property
    def aspect(self) -> float | None:
        """Width of a card as a share of its height, used to detect it in a photo; None: photos show nothing else."""
        value = self.about.get("aspect")
        return float(value) if isinstance(value, int | float) and 0 < value <= 1 else None

    def cards_of(self, split: str) -> list[int]:
        """Return the rows of ``cards`` and ``references`` that belong to a split."""
        return [i for i, card in enumerate(self.cards) if card.split == split]

    def queries_of(self, split: str) -> list[int]:
        """Return the rows of ``queries`` and ``query_images`` that belong to a split."""
        return [j for j, query in enumerate(self.queries) if query.split == split]

    def queries_for(self, split: str, stage: str) -> list[int]:
        """Return the rows of a split's queries; raise a PokeflowError that names ``stage`` if it has no query."""
        rows = self.queries_of(split)
        if not rows:
            raise PokeflowError(
                f"{stage}: the data set has no {split} queries. Prepare more cards, with data.queries.views above 0."
            )
        return rows


def split_counts(total: int) -> dict[str, int]:
    """Return the number of cards per split: train 80 and val 15 per cent, rounded down, the rest test.

    For example, 17,592 cards are split into 14,073, 2,638 and 881.
    """
    train, val = total * 80 // 100, total * 15 // 100
    return {"train": train, "val": val, "test": total - train - val}


def write(folder: Path, dataset: Dataset, validation: Mapping[str, Any]) -> None:
    """Write a data set and its validation report into a ``prepare`` task's output folder."""
    import numpy as np

    (folder / "dataset.json").write_text(_json(dataset.about), encoding="utf-8")
    (folder / "validation.json").write_text(_json(validation), encoding="utf-8")
    dataset.preprocessing.write(folder)
    _write_rows(folder / "cards.csv", Card, dataset.cards)
    _write_rows(folder / "queries.csv", Query, dataset.queries)
    np.save(folder / "references.npy", dataset.references)
    np.save(folder / "queries.npy", dataset.query_images)


def read(folder: Path) -> Dataset:
    """Open a prepared folder; raise a PokeflowError if a part is unreadable or does not fit the others."""
    import numpy as np

    try:
        description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        cards = tuple(Card(**row) for row in _read_rows(folder / "cards.csv"))
        queries = tuple(
            Query(row["card_id"], row["split"], int(row["view"])) for row in _read_rows(folder / "queries.csv")
        )
        # allow_pickle=False: an array file must never be able to run code.
        references = np.load(folder / "references.npy", mmap_mode="r", allow_pickle=False)
        query_images = np.load(folder / "queries.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PokeflowError(
            f"{folder}: not a prepared data set ({error}). Prepare it again with force=[data]."
        ) from error
    if len(cards) != len(references) or len(queries) != len(query_images):
        raise PokeflowError(
            f"{folder}: {len(cards)} cards for {len(references)} references, "
            f"{len(queries)} queries for {len(query_images)} images. Prepare it again with force=[data]."
        )
    return Dataset(description, preprocessing.read(folder), cards, references, queries, query_images)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _write_rows(file: Path, kind: type, rows: Sequence[Any]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [f.name for f in fields(kind)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))
