"""One array in an ``.npy``, from whoever may have written it: numbers or nothing."""

from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"\x93NUMPY"
"""What other kinds do not begin with: numpy would open an archive too, and ask a pickle to be trusted."""


def read(file: Path, *, mapped: bool = False) -> "np.ndarray":
    """The array in a file, ``mapped`` or in memory; ValueError where there is none in it, OSError if it cannot be read.

    Nothing in it is run, and no more is taken than the file has.
    """
    import numpy as np

    with file.open("rb") as source:
        if source.read(len(MAGIC)) != MAGIC:
            raise ValueError("it is no .npy")
    try:
        # Mapped first: a header that tells of more than the file has would else have that much put aside.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TokenError, TypeError) as error:
        raise ValueError(f"its header makes no sense ({type(error).__name__})") from error
    return np.asarray(array if mapped else np.array(array))
