"""A camera's frames, and the moment at which they agree on a card."""

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow_vision.recognizer import Answer

if TYPE_CHECKING:
    import numpy as np

SIZE = (1280, 720)
CARD = 63 / 88
"""A card's width to its height."""


def frames(number: int | str) -> "Iterator[np.ndarray]":
    """The pictures of a camera, uint8 H×W×3 RGB, until it gives no more; PokeflowError where there is no camera.

    A number is that of a camera, through picamera2 where it is installed, else through OpenCV; OpenCV also takes
    a video's path.
    """
    for module, source in (("picamera2", _picamera), ("cv2", _opencv)):
        if module == "picamera2" and isinstance(number, str):
            continue
        try:
            library = importlib.import_module(module)
        except ImportError:
            continue
        return source(library, number)
    raise PokeflowError(
        "--camera: neither picamera2 nor OpenCV is installed. Run: sudo apt install python3-picamera2 "
        "(or python3-opencv for a USB camera); a virtual environment sees them with --system-site-packages."
    )


def _picamera(library: Any, number: int | str) -> "Iterator[np.ndarray]":
    """https://datasheets.raspberrypi.com/camera/picamera2-manual.pdf."""
    try:
        camera = library.Picamera2(number)
        # Its BGR888 is red first in memory: libcamera names formats as little-endian numbers.
        camera.configure(camera.create_video_configuration(main={"size": SIZE, "format": "BGR888"}))
        camera.start()
    except (IndexError, RuntimeError) as error:
        raise PokeflowError(
            f"--camera {number}: cannot be opened ({error}). rpicam-hello --list-cameras tells which there are."
        ) from error
    try:
        while True:
            yield camera.capture_array("main")
    finally:
        camera.stop()
        camera.close()


def _opencv(library: Any, number: int | str) -> "Iterator[np.ndarray]":
    import numpy as np

    camera = library.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise PokeflowError(f"--camera {number}: cannot be opened. v4l2-ctl --list-devices tells which there are.")
        while True:
            there, frame = camera.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV has blue first
    finally:
        camera.release()


def card_of(frame: "np.ndarray") -> "np.ndarray":
    """The middle of a frame, in a card's proportions and as large as the frame allows."""
    height, width = frame.shape[:2]
    wide, high = min(width, round(height * CARD)), min(height, round(width / CARD))
    left, top = (width - wide) // 2, (height - high) // 2
    return frame[top : top + high, left : left + wide]


def steady(answers: Iterable[Answer], frames: int, least: float) -> Iterator[Answer]:
    """The answers at which a card has been the best match of so many frames in a row, each with a score of ``least``.

    A card is told once, and again only after another one was, or after as many frames without one.
    """
    seen: str | None = None
    told: str | None = None
    count = 0
    for answer in answers:
        best = answer.matches[0]
        card = best.card_id if best.score >= least else None
        count = count + 1 if card == seen else 1
        seen = card
        if count == frames and card != told:
            told = card
            if card is not None:
                yield answer


def recognized(pictures: "Iterable[np.ndarray]", recognize: "Callable[[np.ndarray], Answer]") -> Iterator[Answer]:
    """Each frame's answer, of what ``card_of`` finds in it."""
    return (recognize(card_of(picture)) for picture in pictures)
