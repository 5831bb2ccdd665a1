"""Camera frames are recognized, and a card is reported once enough frames agree. Picamera2 is a double."""

import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pokeflow import PokeflowError
from pokeflow_edge.runtime import camera, recognizer
from pokeflow_vision.recognizer import Answer, Match

from ..conftest import card_dataset


def scene(card: int | None) -> np.ndarray:
    """Return a frame, uint8 480×640×3, with an upright card in its middle, or without a card."""
    frame = np.full((480, 640, 3), 30, np.uint8)
    if card is not None:
        high, wide = 480, round(480 * camera.CARD)
        left = (640 - wide) // 2
        frame[:, left : left + wide] = np.asarray(Image.fromarray(card_dataset().references[card]).resize((wide, high)))
    return frame


def answer(card: str, score: float = 0.9) -> Answer:
    return Answer((Match(card, "", "", "", score),), {})


def reported_cards(cards: str, frames: int, least: float = -1.0) -> str:
    return "".join(a.matches[0].card_id for a in camera.steady(map(answer, cards), frames, least))


@pytest.mark.parametrize(
    ("cards", "frames", "expected"),
    [
        ("aaa", 3, "a"),
        ("aa", 3, ""),
        ("aaaaaaaa", 3, "a"),
        ("abababab", 2, ""),
        ("aaabaaa", 3, "a"),
        ("aaabbbaaa", 3, "aba"),
        ("ab", 1, "ab"),
    ],
)
def test_card_is_reported_after_enough_equal_frames(cards, frames, expected):
    assert reported_cards(cards, frames) == expected


def test_card_is_reported_again_after_an_empty_table():
    scores = {"a": 0.9, "-": 0.1}
    frames = [answer(card, scores[card]) for card in "aaa---aaa-aaa"]
    answers = list(camera.steady(frames, 3, 0.5))
    assert [a.matches[0].card_id for a in answers] == ["a", "a"]


@given(st.text("abc", max_size=40), st.integers(1, 5))
def test_each_long_enough_run_of_a_new_card_is_reported(cards, frames):
    runs = [(card, len(list(same))) for card, same in itertools.groupby(cards)]
    long = [card for card, length in runs if length >= frames]
    assert reported_cards(cards, frames) == "".join(card for card, _ in itertools.groupby(long))


@given(st.integers(1, 300), st.integers(1, 300))
def test_crop_has_the_proportions_of_a_card(height, width):
    crop = camera.card_of(np.zeros((height, width, 3), np.uint8))
    assert crop.shape[0] == height or crop.shape[1] == width
    assert abs(crop.shape[1] - crop.shape[0] * camera.CARD) <= 1


def test_frames_of_any_source_are_recognized(numpy_bundle):
    opened = recognizer.open_bundle(numpy_bundle.folder, 1)
    frames = (scene(card) for card in [5] * 4 + [9] * 4)
    answers = list(camera.steady(camera.recognize_frames(frames, opened.recognize), 3, 0.5))
    assert [a.matches[0].card_id for a in answers] == ["set-5", "set-9"]


@pytest.fixture
def video(tmp_path):
    """Return a compressed video with ten frames of one card and ten of another."""
    cv2 = pytest.importorskip("cv2")
    file = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*"MJPG"), 10, (640, 480))
    assert writer.isOpened()
    for card in [11] * 10 + [23] * 10:
        writer.write(np.ascontiguousarray(scene(card)[:, :, ::-1]))
    writer.release()
    return file


def test_opencv_frames_are_rgb(video):
    frames = list(camera.frames(video))
    assert len(frames) == 20
    assert frames[0].dtype == np.uint8
    assert frames[0].shape == (480, 640, 3)
    assert np.abs(frames[3].astype(int) - scene(11)).mean() < 4
    assert np.abs(frames[13].astype(int) - scene(23)).mean() < 4


def test_cards_of_a_video_are_recognized(video, numpy_bundle):
    opened = recognizer.open_bundle(numpy_bundle.folder, 1)
    answers = list(camera.steady(camera.recognize_frames(camera.frames(video), opened.recognize), 3, 0.5))
    assert [a.matches[0].card_id for a in answers] == ["set-11", "set-23"]


def test_missing_video_is_reported(tmp_path, capfd):
    pytest.importorskip("cv2")
    with pytest.raises(PokeflowError, match="cannot be opened"):
        next(camera.frames(str(tmp_path / "missing.avi")))


class Picamera2:
    """Double of picamera2 0.3: https://datasheets.raspberrypi.com/camera/picamera2-manual.pdf, 4.2 and 6.2."""

    def __init__(self, camera_num=0):
        if camera_num > 0:
            raise IndexError("list index out of range")
        self.calls = []

    def create_video_configuration(self, main=None):
        return {"main": main}

    def configure(self, camera_config):
        self.config = camera_config["main"]

    def start(self):
        self.calls.append("start")

    def capture_array(self, name="main"):
        assert (name, self.calls) == ("main", ["start"])
        width, height = self.config["size"]
        first = {"BGR888": 0, "RGB888": 2}[self.config["format"]]  # the manual's appendix A
        frame = np.zeros((height, width, 3), np.uint8)
        frame[:, :, first] = 200
        return frame

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


def test_picamera2_is_preferred_gives_rgb_and_is_closed(monkeypatch):
    cameras = []
    monkeypatch.setitem(
        sys.modules,
        "picamera2",
        SimpleNamespace(Picamera2=lambda number: cameras.append(Picamera2(number)) or cameras[0]),
    )
    frames = camera.frames(0)
    frame = next(frames)
    assert frame.shape == (720, 1280, 3)
    assert frame[0, 0].tolist() == [200, 0, 0]
    frames.close()
    assert cameras[0].calls == ["start", "stop", "close"]


def test_missing_camera_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    with pytest.raises(PokeflowError, match="--camera 3: cannot be opened"):
        next(camera.frames(3))


def test_missing_camera_library_is_reported_with_a_command(monkeypatch):
    for name in ("picamera2", "cv2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PokeflowError, match="apt install python3-picamera2"):
        camera.frames(0)
