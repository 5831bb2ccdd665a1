"""Detect the card in a photo, and rectify it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow_vision import detection

ASPECT = 63 / 88
FRAME = (480, 640)


def card(seed: int = 0, height: int = 352) -> np.ndarray:
    """Draw a card: a light border around tiles of colour, darker at the top."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (4, 3, 3), np.uint8)
    tiles[0] //= 3
    picture = np.full((height, round(height * ASPECT), 3), 235, np.uint8)
    edge = height // 20
    inner = (picture.shape[1] - 2 * edge, height - 2 * edge)
    picture[edge:-edge, edge:-edge] = cv2.resize(tiles, inner, interpolation=cv2.INTER_NEAREST)
    return picture


def corners_of(angle: float, height: float, shift: tuple[float, float] = (0, 0), tilt: float = 0) -> np.ndarray:
    """Return corners of a card in the frame: turned by degrees, and narrower at the top by a share ``tilt``."""
    flat = np.array([[-ASPECT * (1 - tilt), -1], [ASPECT * (1 - tilt), -1], [ASPECT, 1], [-ASPECT, 1]]) * height / 2
    turn = np.radians(angle)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.asarray(flat @ matrix + np.array(FRAME) / 2 + shift, np.float32)


def photograph(corners: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a photo of a card on a plain table with a little noise."""
    picture = card(seed)
    box = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * picture.shape[1::-1] - 0.5
    matrix = cv2.getPerspectiveTransform(box.astype(np.float32), corners)
    scene = np.full((*FRAME[::-1], 3), 70, np.uint8)
    cv2.warpPerspective(picture, matrix, FRAME, dst=scene, borderMode=cv2.BORDER_TRANSPARENT)
    noise = np.random.default_rng(seed).normal(0, 3, scene.shape)
    return (scene + noise).clip(0, 255).astype(np.uint8)


def error(each: detection.Detection, corners: np.ndarray) -> float:
    """Return the largest distance of a corner, up to a half turn, as a share of the card's height."""
    height = np.linalg.norm(corners[3] - corners[0])
    return float(min(np.abs(np.roll(each.corners, 2 * k, 0) - corners).max() for k in range(2)) / height)


@given(
    st.floats(-90, 90),
    st.floats(250, 420),
    st.tuples(st.floats(-30, 30), st.floats(-60, 60)),
    st.floats(0, 0.15),
    st.integers(0, 50),
)
@settings(max_examples=40, deadline=None)
def test_card_is_detected_anywhere(angle, height, shift, tilt, seed) -> None:
    corners = corners_of(angle, height, shift, tilt)
    detections = detection.detect(photograph(corners, seed), ASPECT)
    assert detections
    assert error(detections[0], corners) < 0.03


def test_upper_left_corner_comes_first_in_the_photo() -> None:
    for angle in (0, 20, -20, 170, 180):
        (best, *_) = detection.detect(photograph(corners_of(angle, 400)), ASPECT)
        upper, lower = best.corners[:2], best.corners[2:]
        assert upper[:, 1].mean() < lower[:, 1].mean()
        assert best.corners[0, 0] < best.corners[1, 0]


def test_covered_corner_does_not_hide_a_card() -> None:
    corners = corners_of(5, 420)
    photo = photograph(corners)
    cv2.circle(photo, tuple(corners[1].astype(int).tolist()), 90, (200, 150, 120), -1)
    cv2.rectangle(photo, (0, 560), (200, 640), (30, 60, 200), -1)
    assert min(error(each, corners) for each in detection.detect(photo, ASPECT, 3)) < 0.05


def test_two_cards_are_two_detections() -> None:
    one, other = corners_of(0, 260, (-115, -150)), corners_of(10, 260, (110, 150))
    scene = photograph(one)
    mask = np.zeros(FRAME[::-1], np.uint8)
    cv2.fillPoly(mask, [other.round().astype(np.int32)], 255)
    scene[mask > 0] = photograph(other, 3)[mask > 0]
    detections = detection.detect(scene, ASPECT, 4)
    for corners in (one, other):
        assert min(error(each, corners) for each in detections) < 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (3, 3), (40, 30)])
def test_tiny_picture_has_no_detection(size: tuple[int, int]) -> None:
    assert detection.detect(np.full((*size, 3), 128, np.uint8), ASPECT) == []


def test_empty_table_has_no_clear_detection() -> None:
    noise = np.random.default_rng(0).normal(120, 6, (640, 480, 3)).clip(0, 255).astype(np.uint8)
    clear = detection.detect(photograph(corners_of(0, 400)), ASPECT)[0].score
    assert all(each.score < 0.7 * clear for each in detection.detect(noise, ASPECT))


def test_number_of_detections_is_limited_and_they_are_sorted() -> None:
    detections = detection.detect(photograph(corners_of(8, 400), 7), ASPECT, 5)
    assert 1 <= len(detections) <= 5
    assert [each.score for each in detections] == sorted((each.score for each in detections), reverse=True)
    assert len(detection.detect(photograph(corners_of(8, 400), 7), ASPECT, 1)) == 1


def test_corners_are_pixels_of_the_full_photo() -> None:
    corners = corners_of(4, 400)
    photo = photograph(corners)
    large = cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    assert error(detection.detect(large, ASPECT)[0], (corners + 0.5) * 3 - 0.5) < 0.02


@pytest.mark.parametrize("height", [40, 352, 600])
def test_rectified_card_is_the_card(height: int) -> None:
    corners = corners_of(15, 430, tilt=0.1)
    picture = photograph(corners)
    size = (round(height * ASPECT), height)
    flat = detection.rectify(picture, corners, size)
    assert flat.shape == (height, size[0], 3)
    expected = cv2.resize(card(), size, interpolation=cv2.INTER_AREA)
    assert np.abs(flat.astype(int) - expected).mean() < 12


def test_corners_set_the_orientation_of_a_rectified_card() -> None:
    corners = corners_of(0, 400)
    picture = photograph(corners)
    upright = detection.rectify(picture, corners, (64, 88))
    turned = detection.rectify(picture, np.roll(corners, 2, 0), (64, 88))
    assert np.abs(upright[::-1, ::-1].astype(int) - turned).mean() < 3
