"""Perceptual hashes of 256 bits: the baseline that every network has to beat, and the search for near duplicates."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pokeflow import progress
from pokeflow_vision import retrieval
from pokeflow_vision.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np

BITS = 256
BLOCK = 512


def codes(images: "np.ndarray", label: str = "perceptual hashes") -> "np.ndarray":
    """Return the pHash of each picture (imagehash: 16×16 of a 64×64 cosine transform) as values of +1 and −1.

    With these values a dot product is exactly 256 minus twice the Hamming distance, so a matrix product finds
    neighbours.

    Args:
        images: Uint8 N×H×W×3 RGB.
        label: Label of the progress bar.

    Returns:
        Float32 N×256 of +1 (bit set) and −1.

    """
    import imagehash
    import numpy as np
    from PIL import Image

    def hash_image(image: "np.ndarray") -> "np.ndarray":
        bits: np.ndarray = imagehash.phash(Image.fromarray(image), hash_size=16).hash
        return bits.ravel()

    result = np.empty((len(images), BITS), np.float32)
    with progress.bar(label, len(images)) as advance, ThreadPoolExecutor(4) as pool:
        for start in range(0, len(images), BLOCK):
            for row, bits in enumerate(pool.map(hash_image, images[start : start + BLOCK]), start):
                result[row] = np.where(bits, 1, -1)
                advance()
    return result


def pairs(codes: "np.ndarray", within: int) -> "Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]":
    """Yield all pairs of pictures i < j at most ``within`` bits apart, one block of i at a time; the search is exact.

    Args:
        codes: Hashes, float32 N×256 of +1 and −1.
        within: Largest Hamming distance in bits.

    Yields:
        Integer arrays of equal length: rows i, rows j, and the distances in bits.

    """
    import numpy as np

    with progress.bar("comparing hashes", len(codes)) as advance:
        for start in range(0, len(codes), BLOCK):
            block = codes[start : start + BLOCK]
            bits = (BITS - block @ codes[start:].T) / 2
            # Only entries right of the diagonal remain, so that each pair occurs once.
            bits[np.tril_indices(len(block))] = BITS + 1
            i, j = np.nonzero(bits <= within)
            yield i + start, j + start, bits[i, j].astype(np.int64)
            advance(len(block))


def accuracy(
    gallery: "np.ndarray", queries: "np.ndarray", data: Dataset, rows: Sequence[int]
) -> dict[str, float | None]:
    """Return top-1, top-5 and artwork top-1 accuracy of the baseline, by the same protocol as for a network.

    Rows of ±1 all have length 16, so the order by cosine is the order by Hamming distance, without rounding.

    Args:
        gallery: Hashes of the references, float32 N×256 of +1 and −1.
        queries: Hashes of the queries, float32 M×256 of +1 and −1.
        data: The data set.
        rows: The M rows of ``data.queries``.

    """
    neighbours, _ = retrieval.nearest(queries, gallery, k=5)
    return retrieval.accuracy(neighbours, data, rows)
