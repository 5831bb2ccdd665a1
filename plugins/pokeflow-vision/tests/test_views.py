"""Views of a photo: the frame, what is detected in it, and their half turns."""

import numpy as np
import pytest
from PIL import Image

from pokeflow_vision import preprocessing, views
from pokeflow_vision.detection import Detection
from pokeflow_vision.preprocessing import Preprocessing

SPEC = Preprocessing(size=32)
Y, X = np.mgrid[0:90, 0:60]
PICTURE = np.stack([X * 4, Y * 2, (X * Y) // 30], -1).astype(np.uint8)
CORNERS = np.array([[10, 10], [49, 10], [49, 69], [10, 69]], np.float32)


def test_without_proportions_nothing_is_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views.detection, "detect", lambda *_: pytest.fail("sought"))
    assert views.detect(PICTURE, None) == []
    squares, outlines = views.render(PICTURE, [], SPEC, turned=False)
    assert np.array_equal(squares, preprocessing.to_square([PICTURE], SPEC))
    assert outlines == [None]


@pytest.mark.parametrize("picture", [PICTURE, Image.fromarray(PICTURE)])
def test_each_view_has_its_half_turn_and_its_outline(picture: object) -> None:
    squares, outlines = views.render(picture, [Detection(CORNERS, 1.0)], SPEC, turned=True)  # type: ignore[arg-type]
    assert squares.shape == (4, 32, 32, 3)
    assert squares.dtype == np.uint8
    for view in (0, 1):
        assert np.array_equal(squares[view + 2], squares[view][::-1, ::-1])
    assert outlines[0] is None
    assert outlines[2] is None
    assert np.array_equal(outlines[1], CORNERS)
    assert np.array_equal(outlines[3], CORNERS[[2, 3, 0, 1]])


def test_detection_is_rectified() -> None:
    squares, _ = views.render(PICTURE, [Detection(CORNERS, 1.0)], SPEC, turned=False)
    inside = preprocessing.to_square([PICTURE[10:70, 10:50]], SPEC)[0]
    assert np.abs(squares[1].astype(int) - inside).mean() < 5
