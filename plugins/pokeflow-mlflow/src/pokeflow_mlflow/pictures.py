"""Pictures in the input of a registered network: the accepted forms, and their decoding.

One picture is uint8 RGB, H×W×3, as an array or as nested lists from JSON; or the bytes of a JPEG or PNG file; or these
bytes in base64. Several pictures are a list of these, an array N×H×W×3, or the column ``image`` of a data frame.
A text is never used as the path of a file: a client must not choose which files a server reads.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pokeflow import PokeflowError
from pokeflow_vision.recognizer import ImageLimits, decode_image

if TYPE_CHECKING:
    import numpy as np

NAME = "image"
FORMATS = ("JPEG", "PNG")
"""Pillow's names; JPEG includes MPO, which some phones write. Requests cannot reach Pillow's other decoders."""
MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000


def pictures(model_input: Any) -> Iterator["np.ndarray"]:
    """Yield every picture as uint8 RGB, H×W×3; each is decoded only when it is requested.

    Raises:
        PokeflowError: An item is no valid picture; the message names the item and the reason.

    """
    for number, item in enumerate(_items(model_input), start=1):
        yield _picture(item, f"picture {number}")


def _items(model_input: Any) -> list[Any]:
    import numpy as np

    if isinstance(model_input, Mapping):
        return _items(_single_entry(model_input, list(model_input)))
    if hasattr(model_input, "columns"):  # a data frame
        return _items(_single_entry(model_input, list(model_input.columns)))
    if isinstance(model_input, np.ndarray) and model_input.dtype.kind not in "OSU":
        return _split_array(model_input)
    if hasattr(model_input, "tolist"):  # an array of encoded files or of arrays, or a column of a data frame
        model_input = model_input.tolist()
    if isinstance(model_input, str | bytes | bytearray) or _depth(model_input) == 3:
        return [model_input]
    if not isinstance(model_input, list | tuple):
        type_name = type(model_input).__name__
        raise PokeflowError(f"a {type_name} is not a picture. Send an array, bytes, base64, or a list of these.")
    return [_single_entry(item, list(item)) if isinstance(item, Mapping) else item for item in model_input]


def _split_array(array: "np.ndarray") -> list["np.ndarray"]:
    if array.ndim not in (3, 4):
        raise PokeflowError(f"pictures have the shape {array.shape}. Send H×W×3, or N×H×W×3.")
    return [array] if array.ndim == 3 else list(array)


def _single_entry(mapping: Any, names: list[Any]) -> Any:
    """Return the entry with the name of the signature, or the only entry; raise a PokeflowError for anything else."""
    if NAME not in names and len(names) != 1:
        raise PokeflowError(
            f"no {NAME!r} among {', '.join(map(repr, names[:12])) or 'nothing'}. Rename the column or key."
        )
    return mapping[NAME if NAME in names else names[0]]


def _depth(nested: Any) -> int:
    depth = 0
    while isinstance(nested, list | tuple) and nested and depth < 5:
        nested, depth = nested[0], depth + 1
    return depth if isinstance(nested, int | float) else 0


def _picture(item: Any, name: str) -> "np.ndarray":
    import numpy as np

    if isinstance(item, str):
        item = _from_base64(item, name)
    if isinstance(item, bytes | bytearray | memoryview):
        return np.asarray(decode_image(item, ImageLimits(MAX_BYTES, MAX_PIXELS, FORMATS), name))
    return _pixels(item, name)


def _from_base64(text: str, name: str) -> bytes:
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise PokeflowError(
            f"{name}: {len(text):,} characters, the limit is {MAX_BYTES:,} bytes. Send a smaller picture."
        )
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise PokeflowError(f"{name}: text must be a JPEG or PNG in base64. Paths are not read.") from None


def _pixels(item: Any, name: str) -> "np.ndarray":
    import numpy as np

    try:
        array = np.asarray(item)
    except ValueError:
        raise PokeflowError(f"{name}: its rows differ in length. Send H×W×3, red, green and blue.") from None
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise PokeflowError(f"{name}: has the shape {array.shape}. Send H×W×3, red, green and blue.")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise PokeflowError(
            f"{name}: {array.shape[1]}×{array.shape[0]} pixels, the limit is {MAX_PIXELS:,} in all. Send a smaller "
            "picture."
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise PokeflowError(f"{name}: {array.dtype} from {array.min()} to {array.max()}. Send uint8, 0 to 255.")
    return array.astype(np.uint8)
