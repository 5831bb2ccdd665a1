import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow_cards import capture as module
from pokeflow_cards.capture import capture
from pokeflow_cards.random_streams import Purpose, generator


def rng(view: int = 0) -> np.random.Generator:
    return generator(0, "card", Purpose.QUERY, view)


@pytest.fixture
def card(make_picture) -> np.ndarray:
    return np.asarray(make_picture(5, (103, 144)))


def test_zero_strength_returns_the_card_unchanged(card) -> None:
    assert (capture(card, rng(), 0.0, 144) == card).all()


def test_capture_is_reproducible_and_depends_on_the_view(card) -> None:
    assert (capture(card, rng(), 1.0, 144) == capture(card, rng(), 1.0, 144)).all()
    assert (capture(card, rng(0), 1.0, 144) != capture(card, rng(1), 1.0, 144)).mean() > 0.5


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([24, 51, 144]), st.floats(0, 3), st.integers(0, 1000))
def test_capture_has_card_proportions_for_any_size_and_strength(height, strength, view) -> None:
    image = np.random.default_rng(0).integers(0, 256, (88, 63, 3), np.uint8)
    photo = capture(image, rng(view), strength, height)
    assert photo.shape == (height, round(height * 63 / 88), 3)
    assert photo.dtype == np.uint8


def change(card: np.ndarray, strength: float) -> float:
    photos = [capture(card, rng(view), strength, 144) for view in range(12)]
    return float(np.mean([np.abs(photo.astype(float) - card).mean() for photo in photos]))


def test_stronger_capture_changes_more(card) -> None:
    changes = [change(card, strength) for strength in (0.1, 0.4, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] < 0.5 * changes[2]


def corners(view: int, strength: float = 1.0) -> np.ndarray:
    return module.pose(module._Scene(rng(view), strength, 241, 336))


def test_card_is_inside_the_frame_and_fills_most_of_it() -> None:
    spans = []
    for view in range(500):
        outline = corners(view)
        assert outline.min() >= -1e-6
        assert (outline.max(axis=0) <= np.asarray([241, 336]) + 1e-6).all()
        spans.append((np.ptp(outline, axis=0) / [241, 336]).max())
    assert 0.745 < min(spans) < 0.8
    assert 0.9 < np.median(spans) < 0.97
    assert max(spans) <= 1 + 1e-6


def test_card_is_slightly_rotated_and_tilted() -> None:
    angles = []
    for view in range(200):
        a, b, c, d = corners(view)
        angles.append(math.degrees(math.atan2(*(b - a)[::-1])))
        # Perspective makes opposite edges differ in length.
        assert 0.75 < np.linalg.norm(b - a) / np.linalg.norm(c - d) < 1.33
    assert 1 < np.std(angles) < 5
    assert max(map(abs, angles)) < 15


def test_composed_card_is_within_its_corners() -> None:
    white = module.Image.new("RGB", (241, 336), (255, 255, 255))
    scene = module._Scene(rng(3), 1.0, 241, 336)
    expected = corners(3)
    _, mask = module._compose(white, scene)
    y, x = np.nonzero(mask[..., 0] > 0.5)
    assert abs(x.min() - expected[:, 0].min()) < 6
    assert abs(x.max() - expected[:, 0].max()) < 6
    assert abs(y.min() - expected[:, 1].min()) < 6
    assert abs(y.max() - expected[:, 1].max()) < 6


def test_capture_remains_recognizable(make_picture) -> None:
    """Check that most captures have coarse colours nearest to their own card."""
    cards = [np.asarray(make_picture(seed, (103, 144))) for seed in range(12)]
    small = [module.Image.fromarray(card).resize((6, 8)) for card in cards]
    gallery = np.stack([np.asarray(image, float).ravel() for image in small])
    gallery -= gallery.mean(axis=1, keepdims=True)
    right = 0
    for i, card in enumerate(cards):
        for view in range(4):
            photo = capture(card, generator(0, str(i), Purpose.QUERY, view), 1.0, 144)
            seen = np.asarray(module.Image.fromarray(photo).resize((6, 8)), float).ravel()
            right += int((gallery @ (seen - seen.mean())).argmax() == i)
    assert right > 24
