"""Frames of a camera, and detection of a card on which consecutive frames agree."""

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow_vision.recognizer import Answer

if TYPE_CHECKING:
    import numpy as np

SIZE = (1280, 720)
CARD = 63 / 88
"""Aspect ratio of a card, width to height."""


def frames(number: int | str) -> "Iterator[np.ndarray]":
    """Return an iterator over the frames of a camera or video, uint8 H×W×3 RGB, until it ends.

    Args:
        number: Number of a camera, opened by picamera2 if it is installed, else by OpenCV; or the path of a video,
            which only OpenCV opens.

    Raises:
        PokeflowError: If no library is installed, or, at the first frame, if the camera cannot be opened.

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
        "(or python3-opencv for a USB camera); a virtual environment needs --system-site-packages to use them."
    )


def _picamera(library: Any, number: int | str) -> "Iterator[np.ndarray]":
    """Yield frames through picamera2, see https://datasheets.raspberrypi.com/camera/picamera2-manual.pdf."""
    try:
        camera = library.Picamera2(number)
        # BGR888 has red first in memory: libcamera names formats as little-endian numbers.
        camera.configure(camera.create_video_configuration(main={"size": SIZE, "format": "BGR888"}))
        camera.start()
    except (IndexError, RuntimeError) as error:
        raise PokeflowError(
            f"--camera {number}: cannot be opened ({error}). rpicam-hello --list-cameras lists the cameras."
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
            raise PokeflowError(f"--camera {number}: cannot be opened. v4l2-ctl --list-devices lists the cameras.")
        while True:
            success, frame = camera.read()
            if not success:
                return
            yield np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV has blue first
    finally:
        camera.release()


def card_of(frame: "np.ndarray") -> "np.ndarray":
    """Return the largest centred crop of a frame with a card's aspect ratio."""
    height, width = frame.shape[:2]
    crop_width, crop_height = min(width, round(height * CARD)), min(height, round(width / CARD))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return frame[top : top + crop_height, left : left + crop_width]


def steady(answers: Iterable[Answer], frames: int, least: float) -> Iterator[Answer]:
    """Yield the answer at which a card has been the best match of ``frames`` consecutive frames.

    Each of the frames needs a score of at least ``least``. A card is reported once, and again only after another card
    was, or after ``frames`` consecutive frames without one.
    """
    candidate: str | None = None
    reported: str | None = None
    count = 0
    for answer in answers:
        best = answer.matches[0]
        card = best.card_id if best.score >= least else None
        count = count + 1 if card == candidate else 1
        candidate = card
        if count == frames and card != reported:
            reported = card
            if card is not None:
                yield answer


def recognize_frames(pictures: "Iterable[np.ndarray]", recognize: "Callable[[np.ndarray], Answer]") -> Iterator[Answer]:
    """Return an iterator over the answers to the card crop of each frame."""
    return (recognize(card_of(picture)) for picture in pictures)
