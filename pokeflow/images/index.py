"""The gallery that a picture is looked up in: every card's embedding and what is printed on it."""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow.images import retrieval

if TYPE_CHECKING:
    import numpy as np

    from pokeflow.images.dataset import Dataset

FILE = "index.npz"


@dataclass(frozen=True, slots=True)
class Index:
    """N cards: embeddings float32 N×D of length 1, and unicode arrays of N; ``preprocessing`` is the spec's hash."""

    embeddings: "np.ndarray"
    card_ids: "np.ndarray"
    names: "np.ndarray"
    sets: "np.ndarray"
    numbers: "np.ndarray"
    preprocessing: str

    def card(self, row: int) -> dict[str, str]:
        """What is known of one card."""
        return {
            "card_id": str(self.card_ids[row]),
            "name": str(self.names[row]),
            "set": str(self.sets[row]),
            "number": str(self.numbers[row]),
        }


def build(data: "Dataset", embeddings: "np.ndarray") -> Index:
    """The index of a data set's references, row by row."""
    import numpy as np

    card_ids, names, sets, numbers = (
        np.asarray([getattr(card, name) for card in data.cards], np.str_)
        for name in ("card_id", "name", "set", "number")
    )
    return Index(retrieval.normalized(embeddings), card_ids, names, sets, numbers, data.preprocessing.hash)


def write(folder: Path, index: Index) -> None:
    """Put the index into a benchmark's folder."""
    import numpy as np

    parts: dict[str, Any] = {f.name: np.asarray(getattr(index, f.name)) for f in fields(index)}
    np.savez(folder / FILE, **parts)


def read(folder: Path) -> Index:
    """Open the index of a benchmark's folder; PokeflowError where it is damaged or not an index."""
    import numpy as np

    file = folder / FILE
    try:
        with zipfile.ZipFile(file) as archive:
            # What is stored as it is cannot unfold into more than the file's own size.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        with np.load(file, allow_pickle=False) as parts:
            arrays = {f.name: parts[f.name] for f in fields(Index)}
        _require_sound(**arrays)
    except (OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile) as error:
        raise PokeflowError(f"{file}: not a readable index ({error}). Run the benchmark again.") from error
    return Index(**{**arrays, "preprocessing": str(arrays["preprocessing"])})


def _require_sound(embeddings: "np.ndarray", preprocessing: "np.ndarray", **columns: "np.ndarray") -> None:
    import numpy as np

    texts = (preprocessing, *columns.values())
    if not all(isinstance(part, np.ndarray) for part in (embeddings, *texts)):
        raise ValueError("its parts are not arrays")
    if embeddings.ndim != 2 or embeddings.dtype != np.float32:
        raise ValueError(f"embeddings are {embeddings.dtype}{embeddings.shape}, not float32 N×D")
    if any(text.dtype.kind != "U" for text in texts) or preprocessing.shape != ():
        raise ValueError("its columns are not text")
    if any(column.shape != (len(embeddings),) for column in columns.values()):
        raise ValueError("its columns are not one entry a card")
    if not len(embeddings) or not np.isfinite(embeddings).all():
        raise ValueError("embeddings are missing or not finite")


def search(gallery: "np.ndarray", query: "np.ndarray", k: int) -> tuple["np.ndarray", "np.ndarray"]:
    """Rows and cosines of the k most similar, best first, ties to the lower row: ``retrieval.nearest`` for one query.

    Both N×D and D must be of length 1 a row; k partitions instead of a full sort, so a look-up is one pass.
    """
    import numpy as np

    similarity = gallery @ query
    k = min(k, len(gallery))
    least = np.partition(similarity, -k)[-k]
    candidates = np.flatnonzero(similarity >= least)
    rows = candidates[np.argsort(-similarity[candidates], kind="stable")][:k]
    return rows, similarity[rows]
