"""Random numbers that belong to a card: the same whatever else is drawn, and on however many threads."""

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Purpose(IntEnum):
    """What the numbers are for; streams of different purposes never meet."""

    ART = 0
    PRINT = 1
    QUERY = 2
    CALIBRATION = 3


def generator(seed: int, card_id: str, purpose: Purpose, view: int = 0) -> "np.random.Generator":
    """A Philox generator with the seed as key, and card, purpose and view in the counter's high words.

    The lowest word is Philox's own: it counts up as numbers are drawn, and streams that began there would overlap.
    """
    import numpy as np

    card = int.from_bytes(hashlib.sha256(card_id.encode()).digest()[:8])
    counter = np.asarray([0, view, card, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))
