from collections import Counter

import numpy as np

from pokeflow_cards import synthetic
from pokeflow_cards.params import SyntheticParams
from pokeflow_vision.preprocessing import Preprocessing

PARAMS = SyntheticParams(cards=40, twins=0.25, preprocessing=Preprocessing(size=64))


def test_deck_has_the_requested_cards_and_twins() -> None:
    deck = synthetic.deck(PARAMS)
    shared = Counter(printing.card.artwork for printing in deck)
    assert len({printing.card.card_id for printing in deck}) == 40
    assert Counter(shared.values()) == {2: 10, 1: 20}


def test_twins_share_name_and_art_but_not_print() -> None:
    deck = synthetic.deck(PARAMS)
    by_id = {printing.card.card_id: printing for printing in deck}
    twins = [printing for printing in deck if printing.card.artwork != printing.card.card_id]
    assert len(twins) == 10
    for twin in twins:
        first = by_id[twin.card.artwork]
        assert twin.face.name == first.face.name
        assert (twin.face.set, twin.face.number) != (first.face.set, first.face.number)
        assert twin.face.border != first.face.border
        assert twin.face.holo != first.face.holo


def test_set_and_number_are_unique() -> None:
    deck = synthetic.deck(SyntheticParams(cards=160))
    assert len({(printing.card.set, printing.card.number) for printing in deck}) == 160


def test_zero_twins_gives_no_shared_artwork() -> None:
    deck = synthetic.deck(SyntheticParams(cards=30, twins=0.0))
    assert all(printing.card.artwork == printing.card.card_id for printing in deck)


def test_cards_do_not_depend_on_the_deck_size() -> None:
    few, many = (synthetic.deck(SyntheticParams(cards=n, twins=0.0)) for n in (20, 50))
    assert few == many[:20]


def test_another_seed_gives_another_deck() -> None:
    a, b = (synthetic.deck(SyntheticParams(cards=20, seed=seed)) for seed in (0, 1))
    assert sum(x.face.name == y.face.name for x, y in zip(a, b, strict=True)) < 5


def test_pictures_differ_but_twins_share_their_art(tmp_path) -> None:
    scans = synthetic.scans(PARAMS, tmp_path)
    assert len(set(scans.digests)) == 40
    rows = {card.card_id: row for row, card in enumerate(scans.cards)}
    faces = {printing.card.card_id: printing.face for printing in synthetic.deck(PARAMS)}
    windows = [
        (
            scans.references[row, 14:44, 10:58].astype(int),
            scans.references[rows[card.artwork], 14:44, 10:58].astype(int),
        )
        for card, row in zip(scans.cards, range(40), strict=True)
        if card.artwork != card.card_id and not faces[card.card_id].full_art
    ]
    others = [np.abs(a - b[0]).mean() for (a, _), b in zip(windows, windows[1:] + windows[:1], strict=True)]
    same = [np.abs(a - b).mean() for a, b in windows]
    assert max(same) < min(others)
