"""Random numbers for each card, independent of other random numbers and of the number of threads."""

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Purpose(IntEnum):
    """Purpose of a stream of random numbers; streams of different purposes never overlap."""

    ART = 0
    PRINT = 1
    QUERY = 2
    CALIBRATION = 3
    PHOTO = 4


def generator(seed: int, card_id: str, purpose: Purpose, view: int = 0) -> "np.random.Generator":
    """Return a Philox generator with the seed as key, and card, purpose and view in the counter's high words.

    The lowest word is left to Philox, which increments it with each draw; streams that differed there would overlap.
    """
    import numpy as np

    card = int.from_bytes(hashlib.sha256(card_id.encode()).digest()[:8])
    counter = np.asarray([0, view, card, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))
