"""Plan and render the photos of a data set."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pokeflow_cards import photo_set
from pokeflow_cards.params import CONDITIONS, Photos
from pokeflow_cards.scans import Scans
from pokeflow_vision.dataset import Card

SPLIT_OF = {f"c/{i}": ("train", "val", "test")[i % 3] for i in range(30)}


def scans() -> Scans:
    cards = tuple(Card(card, "", "", "", "", "") for card in SPLIT_OF)
    pictures = np.random.default_rng(0).integers(0, 256, (len(cards), 96, 69, 3), np.uint8)
    return Scans("toy", {}, cards, False, pictures, ())


def test_each_test_card_is_photographed_once_per_condition() -> None:
    photos = photo_set.plan(0, SPLIT_OF, Photos(cards=4, conditions=("loose", "mixed")))
    counts = Counter((photo.split, photo.condition) for photo in photos)
    assert counts == {
        ("val", "mixed"): 4, ("val", "empty"): 2,
        ("test", "loose"): 4, ("test", "mixed"): 4, ("test", "empty"): 2,
    }  # fmt: skip
    assert all(SPLIT_OF[photo.card_id] == photo.split for photo in photos if photo.card_id)
    assert all((photo.condition == "empty") == (photo.card_id == "") for photo in photos)
    names = [photo.name for photo in photos]
    assert len(set(names)) == len(names)


def test_conditions_have_the_same_cards() -> None:
    photos = photo_set.plan(0, SPLIT_OF, Photos(cards=3))
    by_condition = {c: {p.card_id for p in photos if (p.split, p.condition) == ("test", c)} for c in CONDITIONS}
    assert len(set(map(frozenset, by_condition.values()))) == 1


def test_name_has_no_part_of_a_path_from_a_card() -> None:
    photos = photo_set.plan(0, {"../../x": "test", "a b": "test"}, Photos(cards=2, conditions=("loose",)))
    names = {photo.name for photo in photos if photo.card_id}
    assert names == {"test/loose/..%2f..%2fx.jpg", "test/loose/a%20b.jpg"}


@pytest.mark.parametrize("cards", [0, 100])
def test_no_more_photos_than_cards(cards: int) -> None:
    photos = photo_set.plan(0, SPLIT_OF, Photos(cards=cards, conditions=("loose",)))
    assert sum(photo.condition == "loose" for photo in photos) == min(cards, 10)


def test_a_photo_depends_on_its_own_card_and_condition_alone() -> None:
    few = dict(photo_set.render(photo_set.plan(0, SPLIT_OF, Photos(2, ("loose",))), scans(), 0))
    many = dict(photo_set.render(photo_set.plan(0, SPLIT_OF, Photos(2, ("hard", "loose"))), scans(), 0))
    shared = {photo.name: data for photo, data in many.items() if "loose" in photo.name}
    assert {photo.name: data for photo, data in few.items() if "loose" in photo.name} == shared
    assert len(set(many.values())) == len(many)


def test_original_picture_is_photographed_if_there_is_one(tmp_path: Path) -> None:
    from dataclasses import replace

    photos = photo_set.plan(0, SPLIT_OF, Photos(1, ("loose",)))
    rows = []

    def original(row: int) -> np.ndarray:
        rows.append(row)
        return np.zeros((300, 215, 3), np.uint8)

    dict(photo_set.render(photos, replace(scans(), original=original), 0))
    row_of = {card: row for row, card in enumerate(SPLIT_OF)}
    assert sorted(rows) == sorted(row_of[photo.card_id] for photo in photos if photo.card_id)
