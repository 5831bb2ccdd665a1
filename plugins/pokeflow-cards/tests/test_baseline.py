"""Measure the perceptual hash on photos, of the whole frame and of all views."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from pokeflow_cards import baseline, phash, photo_set
from pokeflow_cards.params import Photos
from pokeflow_cards.scans import ASPECT, Scans
from pokeflow_vision import photos
from pokeflow_vision.dataset import Card

CONDITIONS = ("crop_0", "turned_180", "loose")


def draw(seed: int) -> np.ndarray:
    """Draw a card: a white border around tiles of colour."""
    tiles = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)
    picture = np.full((352, round(352 * ASPECT), 3), 240, np.uint8)
    picture[10:-10, 10:-10] = cv2.resize(tiles, (picture.shape[1] - 20, 332), interpolation=cv2.INTER_NEAREST)
    return picture


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, tuple[Card, ...]]:
    """Take photos of 8 of 24 cards; return their folder, the hashes of all, and the cards."""
    folder = tmp_path_factory.mktemp("data")
    split_of = {f"c{i}": "test" if i < 8 else "train" for i in range(24)}
    cards = tuple(Card(card, "", "", "", f"art-{card}", split) for card, split in split_of.items())
    scans = Scans("toy", {}, cards, True, np.stack([draw(i) for i in range(24)]), ())
    planned = photo_set.plan(0, split_of, Photos(8, CONDITIONS))
    photos.write(folder, photo_set.render(planned, scans, 0))
    return folder, phash.codes(scans.references), cards


def test_views_make_the_hash_find_cards_that_the_frame_hides(prepared) -> None:
    folder, codes, cards = prepared
    assert baseline.measure(folder, codes, cards) == {}
    with (folder / "baselines.csv").open(newline="") as file:
        rows = {(row["method"], row["condition"]): row for row in csv.DictReader(file)}
    assert set(rows) == {(method, condition) for method in baseline.METHODS for condition in CONDITIONS}
    share = {key: float(row["top1_accuracy"]) for key, row in rows.items()}
    assert share["phash256", "crop_0"] == share["phash256_rectified", "crop_0"] == 1.0
    for condition in ("turned_180", "loose"):
        assert share["phash256", condition] < 0.5
        assert share["phash256_rectified", condition] >= 0.8


def test_accuracy_on_ordinary_photos_is_a_metric(tmp_path: Path) -> None:
    cards = tuple(Card(f"c{i}", "", "", "", "", "test") for i in range(3))
    scans = Scans("toy", {}, cards, False, np.stack([draw(i) for i in range(3)]), ())
    planned = photo_set.plan(0, {card.card_id: "test" for card in cards}, Photos(3, ("mixed",)))
    photos.write(tmp_path, photo_set.render(planned, scans, 0))
    metrics = baseline.measure(tmp_path, phash.codes(scans.references), cards)
    assert set(metrics) == {"phash256_mixed_top1_accuracy", "phash256_rectified_mixed_top1_accuracy"}


def test_data_set_without_photos_has_no_baselines(tmp_path: Path) -> None:
    assert baseline.measure(tmp_path, np.ones((1, 256), np.float32), ()) == {}
    assert list(tmp_path.iterdir()) == []


def test_first_hash_is_that_of_the_whole_frame() -> None:
    picture = draw(1)
    done, data = cv2.imencode(".png", picture[..., ::-1])
    assert done
    assert (baseline.hash_views(bytes(data))[0] == phash.codes(picture[None])[0]).mean() > 0.95
