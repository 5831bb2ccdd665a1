"""Perceptual hashes of 256 bits: the baseline every network has to beat, and the finder of near duplicates."""

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
    """The pHash of each picture (imagehash, 16×16 of a 64×64 cosine transform): float32 N×256 of +1 and −1.

    As ±1, a dot product is 256 minus twice the Hamming distance, exactly: a matrix product finds neighbours.
    """
    import imagehash
    import numpy as np
    from PIL import Image

    def one(image: "np.ndarray") -> "np.ndarray":
        bits: np.ndarray = imagehash.phash(Image.fromarray(image), hash_size=16).hash
        return bits.ravel()

    result = np.empty((len(images), BITS), np.float32)
    with progress.bar(label, len(images)) as advance, ThreadPoolExecutor(4) as pool:
        for start in range(0, len(images), BLOCK):
            for row, bits in enumerate(pool.map(one, images[start : start + BLOCK]), start):
                result[row] = np.where(bits, 1, -1)
                advance()
    return result


def pairs(codes: "np.ndarray", within: int) -> "Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]":
    """All pairs i < j at most ``within`` bits apart, a block of i at a time: (i, j, bits). Exact."""
    import numpy as np

    with progress.bar("near duplicates", len(codes)) as advance:
        for start in range(0, len(codes), BLOCK):
            block = codes[start : start + BLOCK]
            bits = (BITS - block @ codes[start:].T) / 2
            # Only what lies right of the diagonal: each pair once.
            bits[np.tril_indices(len(block))] = BITS + 1
            i, j = np.nonzero(bits <= within)
            yield i + start, j + start, bits[i, j].astype(np.int64)
            advance(len(block))


def accuracy(
    gallery: "np.ndarray", queries: "np.ndarray", data: Dataset, rows: Sequence[int]
) -> dict[str, float | None]:
    """top-1, top-5 and artwork top-1 of the baseline on these query rows, by the same protocol as any network.

    Rows of ±1 all have length 16, so the order by cosine is the order by Hamming distance, without rounding.
    """
    found, _ = retrieval.nearest(queries, gallery, k=5)
    return retrieval.accuracy(found, data, rows)
