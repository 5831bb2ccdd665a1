from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from pokeflow_cards import queries, splits
from pokeflow_cards.capture import capture
from pokeflow_cards.params import Queries
from pokeflow_cards.random_streams import Purpose, generator
from pokeflow_cards.scans import Scans
from pokeflow_vision.dataset import Card
from pokeflow_vision.preprocessing import Preprocessing

SPEC = Preprocessing(size=32)
IDS = [f"c{i}" for i in range(100)]
SPLIT_OF = splits.assign(0, IDS)


@pytest.fixture
def scans() -> Scans:
    images = np.random.default_rng(0).integers(0, 256, (100, 48, 34, 3), np.uint8)
    cards = tuple(Card(card_id, "n", "s", "1", "", "") for card_id in IDS)
    return Scans("test", {}, cards, False, images, tuple(IDS))


def test_plan_has_views_of_val_test_and_calibration_cards() -> None:
    plan = queries.plan(0, SPLIT_OF, Queries(views=3, calibration=10))
    assert Counter(query.split for query in plan) == {"val": 45, "test": 15, "calibration": 10}
    for query in plan:
        assert SPLIT_OF[query.card_id] == {"calibration": "train"}.get(query.split, query.split)
    assert {query.view for query in plan if query.split == "test"} == {0, 1, 2}


def test_each_train_card_is_used_before_any_repeats() -> None:
    plan = queries.plan(0, SPLIT_OF, Queries(calibration=200))
    taken = [(query.view, query.card_id) for query in plan if query.split == "calibration"]
    assert len(set(taken)) == 200
    assert [view for view, _ in taken] == [0] * 80 + [1] * 80 + [2] * 40
    assert [card for view, card in taken if view == 2] == [card for view, card in taken if view == 0][:40]


def test_more_calibration_views_extend_the_plan() -> None:
    few, many = (queries.plan(0, SPLIT_OF, Queries(calibration=n)) for n in (5, 50))
    assert many[: len(few)] == few


def test_rendering_depends_only_on_card_view_and_seed(scans, tmp_path) -> None:
    plan = queries.plan(0, SPLIT_OF, Queries(views=2, calibration=8))
    images = queries.render_queries(plan, scans, 0, 1.0, SPEC, tmp_path / "a.npy")
    again = queries.render_queries(plan[::-1], scans, 0, 1.0, SPEC, tmp_path / "b.npy")[::-1]
    other = queries.render_queries(plan, scans, 1, 1.0, SPEC, tmp_path / "c.npy")
    assert images.shape == (len(plan), 48, 34, 3)
    assert (images == again).all()
    assert (images != other).mean() > 0.5


def test_no_train_cards_give_no_calibration_views() -> None:
    plan = queries.plan(0, {"c0": "val", "c1": "test"}, Queries(calibration=5))
    assert {query.split for query in plan} == {"val", "test"}


def test_rendering_uses_the_querys_purpose_and_shows_progress(scans, tmp_path, monkeypatch) -> None:
    steps = []

    @contextmanager
    def bar(label, total):
        yield lambda: steps.append((label, total))

    monkeypatch.setattr(queries.progress, "bar", bar)
    plan = queries.plan(0, SPLIT_OF, Queries(views=1, calibration=2))
    images = queries.render_queries(plan, scans, 3, 1.0, SPEC, tmp_path / "a.npy")
    for query, image in zip(plan, images, strict=True):
        purpose = Purpose.CALIBRATION if query.split == "calibration" else Purpose.QUERY
        rng = generator(3, query.card_id, purpose, query.view)
        assert (image == capture(scans.references[IDS.index(query.card_id)], rng, 1.0, 48)).all()
    assert steps == [("rendering queries", len(plan))] * len(plan)


def test_clean_queries_equal_the_references(scans, tmp_path) -> None:
    plan = queries.plan(0, SPLIT_OF, Queries(views=1, calibration=0))
    images = queries.render_queries(plan, scans, 0, 0.0, SPEC, tmp_path / "a.npy")
    assert all((images[j] == scans.references[IDS.index(query.card_id)]).all() for j, query in enumerate(plan))
