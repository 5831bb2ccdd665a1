"""Measure a recognizer on photos: accuracy by condition, intervals, and the answer "none of these"."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pokeflow_testkit.images_support import open_network
from pokeflow_vision import index, photos, protocol
from pokeflow_vision.photos import Photo
from pokeflow_vision.protocol import Outcome
from pokeflow_vision.recognizer import open_recognizer
from pokeflow_vision.testing import data, network


def outcome(
    condition: str = "mixed", card: str = "a", *, right: bool = True, score: float = 0.9, other: float = 0.5
) -> Outcome:
    return Outcome(Photo("", condition, card, "test"), right, right, score, other)


def test_accuracy_is_counted_by_condition() -> None:
    rows = protocol.accuracies([
        outcome("loose"), outcome("loose", right=False), outcome("hard", right=False), outcome("empty", ""),
        replace(outcome("loose", right=False), same_art=True), outcome("loose"),
    ])  # fmt: skip
    assert [(row.condition, row.photos, row.right, row.top1_accuracy) for row in rows] == [
        ("loose", 4, 2, 0.5),
        ("hard", 1, 0, 0.0),
    ]
    assert [row.artwork_top1_accuracy for row in rows] == [0.75, 0.0]
    assert (rows[0].low, rows[0].high) == protocol.wilson(2, 4)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (95, 100, 0.8882, 0.9785)]
)
def test_interval_is_wilsons(right: int, total: int, low: float, high: float) -> None:
    assert protocol.wilson(right, total) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_contains_the_share(counts: tuple[int, int]) -> None:
    low, high = protocol.wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1


def test_threshold_accepts_one_in_a_hundred_wrong_answers() -> None:
    wrong = [outcome(other=i / 1000) for i in range(990)] + [outcome("empty", "", score=0.99) for _ in range(10)]
    threshold = protocol.calibrate(wrong)
    assert threshold is not None
    scores = [o.other if o.photo.card_id else o.score for o in wrong]
    assert sum(score >= threshold for score in scores) == 10
    assert protocol.calibrate([outcome("loose")]) is None


def test_open_set_compares_right_answers_with_wrong_ones() -> None:
    right, unsure = outcome(score=0.9, other=0.3), outcome(score=0.6, other=0.4)
    wrong, empty = outcome(right=False, score=0.8, other=0.8), outcome("empty", "", score=0.7)
    outcomes = [right, unsure, wrong, empty, outcome("hard", score=0.1, other=0.95)]
    metrics = protocol.open_set(outcomes, 0.75)
    # Wrong scores are 0.3, 0.4, 0.8 and 0.7; those of cards 0.9 (above all), 0.6 (above two), 0.8 (three and a tie).
    assert metrics["open_set_auroc"] == pytest.approx((4 + 2 + 3.5) / 12)
    assert metrics["accepted_accuracy"] == pytest.approx(1 / 3)
    assert metrics["false_accept_rate"] == pytest.approx(1 / 4)


def test_without_threshold_or_photos_figures_are_unknown() -> None:
    assert protocol.open_set([outcome("loose")], 0.5) == dict.fromkeys(
        ("open_set_auroc", "accepted_accuracy", "false_accept_rate")
    )
    known = protocol.open_set([outcome()], None)
    assert (known["open_set_auroc"], known["accepted_accuracy"], known["false_accept_rate"]) == (1.0, None, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a model, its gallery and photos: each test card clean, one of other art, and one of nothing."""
    drawn = data.draw_dataset()
    network.write(tmp_path)
    index.write(tmp_path, index.build(drawn, network.reference_embeddings(drawn.references)))
    pictures = {Photo(f"{card.split}/{i}", "mixed", card.card_id, card.split): drawn.references[i]
                for i, card in enumerate(drawn.cards) if card.split != "train"}  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    pictures |= {Photo(f"{split}/empty", "empty", "", split): noise for split in ("val", "test")}
    photos.write(tmp_path, ((photo, encode(picture)) for photo, picture in pictures.items()))
    return tmp_path


def encode(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def test_recognizer_is_measured_on_the_photos_of_a_data_set(folder: Path, tmp_path: Path) -> None:
    recognizer = open_recognizer(folder, open_network, gallery=folder)
    output = tmp_path / "output"
    output.mkdir()
    metrics, threshold = protocol.measure(recognizer, data.draw_dataset(), folder, output)
    assert metrics["mixed_top1_accuracy"] == 1.0
    assert metrics["open_set_auroc"] == 1.0
    assert threshold is not None
    with (output / "conditions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["condition"], row["photos"], row["right"], row["top1_accuracy"]) == ("mixed", "16", "16", "1.0")


def test_data_set_without_photos_is_not_measured(folder: Path, tmp_path: Path) -> None:
    (folder / "photos.csv").unlink()
    recognizer = open_recognizer(folder, open_network, gallery=folder)
    assert protocol.measure(recognizer, data.draw_dataset(), folder, tmp_path) == ({}, None)
