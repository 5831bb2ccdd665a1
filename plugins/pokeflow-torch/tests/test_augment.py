import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow_torch import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cards(count=6, size=32):
    return torch.rand(count, 3, size, size, generator=generator(9))


@given(st.integers(0, 2**32), st.floats(0.0, 2.0), st.sampled_from([16, 31, 32, 48]))
@settings(max_examples=25, deadline=None)
def test_views_have_the_shape_and_range_of_images(seed, strength, size):
    images = cards(3, size)
    seen = augment.views(images, generator(seed), strength)
    assert seen.shape == images.shape
    assert torch.isfinite(seen).all()
    assert 0 <= seen.min() <= seen.max() <= 1


def test_the_same_generator_state_gives_the_same_views():
    assert torch.equal(augment.views(cards(), generator(3)), augment.views(cards(), generator(3)))
    assert not torch.equal(augment.views(cards(), generator(3)), augment.views(cards(), generator(4)))


def test_each_sample_has_its_own_augmentation():
    same = cards(1).repeat(8, 1, 1, 1)
    seen = augment.views(same, generator())
    differences = (seen[:, None] - seen[None]).abs().mean((2, 3, 4))
    assert (differences + torch.eye(8) > 0.01).all()


def test_zero_strength_returns_the_cards_unchanged():
    assert torch.equal(augment.views(cards(), generator(), 0.0), cards())


def test_stronger_augmentation_differs_more_from_the_card():
    far = [(augment.views(cards(32), generator(), s) - cards(32)).abs().mean().item() for s in (0.1, 0.5, 1.0)]
    assert far == sorted(far)


def test_input_images_are_not_modified():
    images = cards()
    augment.views(images, generator())
    assert torch.equal(images, cards())


def test_view_stays_nearest_to_its_own_card():
    smooth = torch.nn.functional.interpolate(cards(6, 4), size=(32, 32), mode="bilinear")
    seen = augment.views(smooth, generator(), 0.3)
    apart = (seen[:, None] - smooth[None]).abs().mean((2, 3, 4))
    assert apart.argmin(1).tolist() == list(range(6))


SQUARE = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@given(st.lists(st.floats(-0.4, 0.4), min_size=8, max_size=8))
@settings(max_examples=50, deadline=None)
def test_homography_maps_its_corners_to_the_square(jitter):
    corners = SQUARE + torch.tensor(jitter).view(4, 2)
    mapped = torch.cat([corners, torch.ones(4, 1)], 1) @ augment.homography(corners[None])[0].T
    torch.testing.assert_close(mapped[:, :2] / mapped[:, 2:], SQUARE, atol=1e-4, rtol=1e-4)


def test_card_is_drawn_in_front_of_the_background():
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    blue = red.flip(1)
    drawn = augment._in_front(red, blue, SQUARE[None] * 0.5)
    assert torch.equal(drawn[0, :, 16, 16], torch.tensor([1.0, 0.0, 0.0]))
    assert torch.equal(drawn[0, :, 2, 2], torch.tensor([0.0, 0.0, 1.0]))
    assert drawn[0, 0].mean().item() == pytest.approx(0.25, abs=0.01)
