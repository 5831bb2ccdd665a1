"""Take simulated photos of a card under named conditions."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from pokeflow_cards import photo
from pokeflow_cards.params import CONDITIONS
from pokeflow_cards.photo import FRAME, Condition, Photo
from pokeflow_cards.scans import ASPECT


def card(height: int = 352) -> np.ndarray:
    """Draw a card: 12 tiles of colour, always the same, with a white border."""
    tiles = np.random.default_rng(1).integers(0, 256, (4, 3, 3), np.uint8)
    picture = np.full((height, round(height * ASPECT), 3), 240, np.uint8)
    inner = cv2.resize(tiles, (picture.shape[1] - 20, height - 20), interpolation=cv2.INTER_NEAREST)
    picture[10:-10, 10:-10] = inner
    return picture


def render(condition: Condition, seed: int = 0) -> Photo:
    return photo.render(card(), condition, np.random.default_rng(seed))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def flatten(taken: Photo) -> np.ndarray:
    """Return the card in a photo, by its stated corners, in the size of the drawn one."""
    height, width = card().shape[:2]
    box = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(taken.corners.astype(np.float32), box)
    return cv2.warpPerspective(pixels(taken.jpeg), matrix, (width, height))


def difference(taken: Photo) -> float:
    """Return the mean difference between the card in a photo and the drawn one, in levels of brightness."""
    return float(np.abs(flatten(taken).astype(int) - card())[20:-20, 20:-20].mean())


def test_parameters_name_the_conditions_of_the_simulator() -> None:
    assert tuple(photo.CONDITIONS) == CONDITIONS


@pytest.mark.parametrize("name", CONDITIONS)
def test_photo_is_reproducible_and_has_its_card(name: str) -> None:
    first, again, other = (
        render(photo.CONDITIONS[name]),
        render(photo.CONDITIONS[name]),
        render(photo.CONDITIONS[name], 1),
    )
    assert first.jpeg == again.jpeg
    assert np.array_equal(first.corners, again.corners)
    assert first.jpeg != other.jpeg
    assert first.corners.shape == (4, 2)


@pytest.mark.parametrize("name", ["loose", "turned_15", "turned_90", "turned_180", "tilted_30", "crop_8"])
def test_corners_are_those_of_the_card(name: str) -> None:
    for seed in range(4):
        assert difference(render(photo.CONDITIONS[name], seed)) < 25


@pytest.mark.parametrize("name", [name for name in CONDITIONS if not name.startswith("crop")])
def test_card_is_wholly_inside_the_frame(name: str) -> None:
    for seed in range(4):
        taken = render(photo.CONDITIONS[name], seed)
        assert pixels(taken.jpeg).shape == (FRAME[1], FRAME[0], 3)
        assert (taken.corners >= -1).all()
        assert (taken.corners <= np.array(FRAME) + 1).all()


def test_half_turn_puts_the_first_corner_at_the_lower_right() -> None:
    corners = render(photo.CONDITIONS["turned_180"]).corners
    assert (corners[0] > corners[2]).all()


@pytest.mark.parametrize(("name", "error"), [("crop_0", 0.0), ("crop_2", 0.02), ("crop_8", 0.08)])
def test_crop_has_no_larger_error_than_its_name_says(name: str, error: float) -> None:
    for seed in range(6):
        taken = render(photo.CONDITIONS[name], seed)
        height, width = pixels(taken.jpeg).shape[:2]
        frame = np.array([[0, 0], [width, 0], [width, height], [0, height]])
        assert (np.abs(taken.corners - frame) <= 1.3 * error * np.array([width, height]) + 1.5).all()


@pytest.mark.parametrize(("name", "share"), [("covered_10", 0.1), ("covered_20", 0.2), ("covered_40", 0.4)])
def test_covered_share_is_exact(name: str, share: float) -> None:
    seen = []
    for seed in range(8):
        changed = np.abs(flatten(render(photo.CONDITIONS[name], seed)).astype(int) - card()).max(-1) > 60
        seen.append(changed[20:-20, 20:-20].mean())
    # A cover may have the colour of the tile that it hides.
    assert np.mean(seen) == pytest.approx(share, abs=0.5 * share)


def test_harder_conditions_differ_more_from_the_card() -> None:
    means = [
        np.mean([difference(render(photo.CONDITIONS[n], s)) for s in range(8)]) for n in ("loose", "mixed", "hard")
    ]
    assert means == sorted(means)


def test_photo_without_a_card_shows_the_table() -> None:
    rng = np.random.default_rng(3)
    picture = pixels(photo.render_empty(photo.CONDITIONS["mixed"], rng))
    assert picture.shape == (FRAME[1], FRAME[0], 3)


def test_card_smaller_than_the_photo_needs_is_enlarged() -> None:
    small = cv2.resize(card(), (69, 96), interpolation=cv2.INTER_AREA)
    taken = photo.render(small, photo.CONDITIONS["loose"], np.random.default_rng(0))
    assert difference(taken) < 40
