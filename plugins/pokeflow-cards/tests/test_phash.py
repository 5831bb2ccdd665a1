import imagehash
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pokeflow_cards import phash
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing


def random_codes(count: int, seed: int = 0, bits: int = 256) -> np.ndarray:
    """Return codes in which only ``bits`` bits vary, so that close pairs exist."""
    codes = np.ones((count, 256), np.float32)
    codes[:, :bits] = np.where(np.random.default_rng(seed).random((count, bits)) < 0.5, 1, -1)
    return codes


def test_code_equals_that_of_imagehash() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 34, 3), np.uint8)
    codes = phash.codes(images)
    expected = imagehash.phash(Image.fromarray(images[2]), hash_size=16)
    assert codes.shape == (3, 256)
    assert ((codes[2] > 0) == expected.hash.ravel()).all()


def test_codes_are_stable_under_brightness() -> None:
    image = np.random.default_rng(0).integers(60, 160, (1, 48, 34, 3), np.uint8)
    assert (phash.codes(image) != phash.codes(image + 40)).sum() <= 4


@given(st.integers(2, 60), st.integers(0, 12), st.integers(0, 100))
def test_pairs_within_the_distance_are_listed_once(count, within, seed) -> None:
    codes = random_codes(count, seed, bits=14)
    bits = {(int(i), int(j)): int(b) for block in phash.pairs(codes, within) for i, j, b in zip(*block, strict=True)}
    distance = (codes[:, None] != codes[None]).sum(axis=-1)
    expected = {
        (i, j): int(distance[i, j]) for i in range(count) for j in range(i + 1, count) if distance[i, j] <= within
    }
    assert bits == expected


def test_pairs_are_detected_across_blocks(monkeypatch) -> None:
    codes = random_codes(40)
    codes[31] = codes[3]
    monkeypatch.setattr(phash, "BLOCK", 7)
    blocks = list(phash.pairs(codes, 0))
    assert len(blocks) == 6
    assert [(int(i), int(j)) for b in blocks for i, j in zip(b[0], b[1], strict=True)] == [(3, 31)]


def data(count: int, artwork: str = "") -> Dataset:
    cards = tuple(Card(f"c{i}", "n", "s", str(i), artwork, "test") for i in range(count))
    queries = tuple(Query(f"c{i}", "test", 0) for i in range(count))
    nothing = np.zeros((count, 1, 1, 3), np.uint8)
    return Dataset({}, Preprocessing(), cards, nothing, queries, nothing)


def test_accuracy_uses_hamming_distance_and_lower_row_on_ties() -> None:
    gallery = random_codes(30)
    gallery[7] = gallery[2]
    queries = gallery.copy()
    queries[:, :40] *= -1
    result = phash.accuracy(gallery, queries, data(30), range(30))
    assert result["top1_accuracy"] == 29 / 30
    assert result["top5_accuracy"] == 1.0
    assert result["artwork_top1_accuracy"] is None
    assert phash.accuracy(gallery, queries, data(30, "same"), range(30))["artwork_top1_accuracy"] == 1.0
