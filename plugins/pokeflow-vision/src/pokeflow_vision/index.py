"""Index of the gallery in which a picture is looked up: every card's embedding and printed data."""

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow_vision import retrieval

if TYPE_CHECKING:
    import numpy as np

    from pokeflow_vision.dataset import Card, Dataset

FILE = "index.npz"
COLUMNS = ("card_id", "name", "set", "number")
"""Fields of a card in the index; also the header of a labels file, whose row i is the gallery's row i."""
_NUMBERS = {"aspect": 0.01, "threshold": -1.0}
"""Fields of an index that are numbers, which an older one lacks, with their least value; the largest is 1."""
_DAMAGED = (
    *(EOFError, MemoryError, OverflowError, RuntimeError, SyntaxError, TypeError),
    *(TokenError, zipfile.BadZipFile, zlib.error),
)
"""Exceptions of zipfile and numpy for invalid archives and headers, besides ValueError and OSError."""


class UnreadableIndexError(PokeflowError):
    """Error for a file that is not a readable index; ``why`` is the cause."""

    def __init__(self, file: Path, why: Exception) -> None:
        super().__init__(f"{file}: not a readable index ({why}). Run the task that wrote it again.")
        self.why = str(why)


@dataclass(frozen=True, slots=True)
class Index:
    """A gallery of N cards.

    ``embeddings`` is float32 N×D with rows of length 1; ``card_ids``, ``names``, ``sets`` and ``numbers`` are unicode
    arrays of N; ``preprocessing`` is the spec's hash. ``aspect`` is the width of a card as a share of its height, by
    which it is detected in a photo; None if pictures show nothing but the card. Below the score ``threshold``, the best
    match is none; None if it was not measured.
    """

    embeddings: "np.ndarray"
    card_ids: "np.ndarray"
    names: "np.ndarray"
    sets: "np.ndarray"
    numbers: "np.ndarray"
    preprocessing: str
    aspect: float | None = None
    threshold: float | None = None

    def card(self, row: int) -> dict[str, str]:
        """Return the fields of the card in a row."""
        return {
            "card_id": str(self.card_ids[row]),
            "name": str(self.names[row]),
            "set": str(self.sets[row]),
            "number": str(self.numbers[row]),
        }


def build(data: "Dataset", embeddings: "np.ndarray", threshold: float | None = None) -> Index:
    """Build the index of a data set's references from their embeddings, N×D of any norm, row by row."""
    import numpy as np

    card_ids, names, sets, numbers = (
        np.asarray([getattr(card, name) for card in data.cards], np.str_) for name in COLUMNS
    )
    rows, spec = retrieval.normalize_rows(embeddings), data.preprocessing.hash
    return Index(rows, card_ids, names, sets, numbers, spec, data.aspect, threshold)


def write(folder: Path, index: Index) -> None:
    """Write the index into a task's folder as ``index.npz``."""
    import numpy as np

    values = {f.name: getattr(index, f.name) for f in fields(index)}
    parts: dict[str, Any] = {name: np.asarray(value) for name, value in values.items() if value is not None}
    np.savez(folder / FILE, **parts)


def labels(cards: "Iterable[Card]") -> bytes:
    """Return the gallery's cards as CSV in UTF-8, in their order."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(card, column) for column in COLUMNS] for card in cards)
    return text.getvalue().encode()


def read(folder: Path) -> Index:
    """Read the index of a folder; raise an UnreadableIndexError if it is missing or damaged."""
    file = folder / FILE
    try:
        required = [f.name for f in fields(Index) if f.name not in _NUMBERS]
        parts = arrays(file, required, optional=_NUMBERS)
        numbers = {name: _number(name, parts.pop(name)) for name in _NUMBERS if name in parts}
        _require_sound(**parts)
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableIndexError(file, error) from error
    return Index(**{**parts, **numbers, "preprocessing": str(parts["preprocessing"])})


def _number(name: str, value: "np.ndarray") -> float:
    if value.shape != () or value.dtype.kind != "f" or not _NUMBERS[name] <= float(value) <= 1:
        raise ValueError(f"{name} is not a number between {_NUMBERS[name]} and 1")
    return float(value)


def arrays(file: Path, names: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """Return arrays of an .npz by their names; those in ``optional`` may be missing.

    No code in the file is run. A compressed archive is refused, because an uncompressed one cannot expand to more
    than the file's own size.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged or compressed, or lacks an array.

    """
    import numpy as np

    try:
        with zipfile.ZipFile(file) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        with np.load(file, allow_pickle=False) as parts:
            values = {name: parts[name] for name in (*names, *(name for name in optional if name in parts))}
    except KeyError as error:
        raise ValueError(f"it has no array {error}") from error
    except _DAMAGED as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error
    if invalid_names := [name for name, part in values.items() if not isinstance(part, np.ndarray)]:
        raise ValueError(f"{invalid_names[0]} is not an array")
    return values


def _require_sound(embeddings: "np.ndarray", preprocessing: "np.ndarray", **columns: "np.ndarray") -> None:
    import numpy as np

    texts = (preprocessing, *columns.values())
    if embeddings.ndim != 2 or embeddings.dtype != np.float32:
        raise ValueError(f"embeddings are {embeddings.dtype}{embeddings.shape}, not float32 N×D")
    if any(text.dtype.kind != "U" for text in texts) or preprocessing.shape != ():
        raise ValueError("its columns are not text")
    if any(column.shape != (len(embeddings),) for column in columns.values()):
        raise ValueError("its columns do not have one entry per card")
    if not len(embeddings) or not np.isfinite(embeddings).all():
        raise ValueError("embeddings are missing or not finite")


def search(gallery: "np.ndarray", query: "np.ndarray", k: int) -> tuple["np.ndarray", "np.ndarray"]:
    """Return rows and cosines of the k cards most similar to a query, best first; ties go to the lower row.

    The result is that of ``retrieval.nearest`` for one query. A partition replaces the full sort, so that a look-up
    takes one pass.

    Args:
        gallery: Embeddings of the cards, float32 N×D, rows of length 1.
        query: Embedding of the query, float32 D, of length 1; or of V views of it, V×D, of which the best one counts.
        k: Number of cards; all if there are fewer.

    """
    import numpy as np

    similarity = gallery @ query if query.ndim == 1 else (gallery @ query.T).max(axis=1)
    k = min(k, len(gallery))
    least = np.partition(similarity, -k)[-k]
    candidates = np.flatnonzero(similarity >= least)
    rows = candidates[np.argsort(-similarity[candidates], kind="stable")][:k]
    return rows, similarity[rows]
