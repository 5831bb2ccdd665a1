"""Safe reading of an ``.npy`` file of unknown origin."""

from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"\x93NUMPY"
"""First bytes of an .npy. Other files are refused: numpy would also open an archive, and take others for pickles."""


def read(file: Path, *, memory_map: bool = False) -> "np.ndarray":
    """Read the array of an ``.npy`` file into memory, or memory-map it if ``memory_map`` is set.

    No code in the file is run, and no more memory is allocated than the file's size.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not an ``.npy``, or its header is invalid.

    """
    import numpy as np

    with file.open("rb") as source:
        if source.read(len(MAGIC)) != MAGIC:
            raise ValueError("it is not an .npy file")
    try:
        # Mapped first: otherwise a header that claims more data than the file has would allocate that much memory.
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (EOFError, MemoryError, OverflowError, RecursionError, SyntaxError, TokenError, TypeError) as error:
        raise ValueError(f"its header is invalid ({type(error).__name__})") from error
    return np.asarray(array if memory_map else np.array(array))
