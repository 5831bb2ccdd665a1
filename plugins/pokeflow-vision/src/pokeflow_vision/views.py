"""Views of a photo, one of which shows the card upright: the whole frame, what is detected in it, half turns."""

from typing import TYPE_CHECKING

from pokeflow_vision import detection, preprocessing
from pokeflow_vision.detection import Detection
from pokeflow_vision.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

DETECTIONS = 2
"""Largest number of detections in a photo; each makes two views, because an outline does not tell which end is up."""
SIDE = 960
"""Longer side in pixels to which a photo may be reduced before cards are sought in it."""


def detect(picture: "np.ndarray | Image", aspect: float | None) -> list[Detection]:
    """Return the clearest detections in a picture, best first; none if there is nothing to seek.

    Args:
        picture: Uint8 H×W×3 RGB, or an RGB image of Pillow.
        aspect: Width of a card as a share of its height; None if pictures show nothing but the card.

    """
    import numpy as np

    return [] if aspect is None else detection.detect(np.asarray(picture), aspect, DETECTIONS)


def render(
    picture: "np.ndarray | Image", detections: list[Detection], spec: Preprocessing, *, turned: bool
) -> "tuple[np.ndarray, list[np.ndarray | None]]":
    """Return the views of a picture, and for each the corners of what it shows; None for the whole frame.

    Args:
        picture: Uint8 H×W×3 RGB, or an RGB image of Pillow.
        detections: Finds in the picture.
        spec: Preprocessing that sets the size.
        turned: Add the half turn of each view.

    Returns:
        Views, uint8 V×size×size×3, and V outlines, float 4×2 from the upper left corner of the view on.

    """
    import numpy as np

    outlines: list[np.ndarray | None] = [None, *(each.corners for each in detections)]
    size = (spec.size, spec.size)
    pixels = np.asarray(picture)
    squares = [preprocessing.to_square([picture], spec)[0]]
    squares += [detection.rectify(pixels, each.corners, size) for each in detections]
    if turned:
        squares += [np.rot90(square, 2) for square in squares]
        outlines += [None if outline is None else np.roll(outline, 2, 0) for outline in outlines]
    return np.stack(squares), outlines
