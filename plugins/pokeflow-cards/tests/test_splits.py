from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_cards import splits

IDS = [f"card-{i}" for i in range(1000)]


@given(st.sets(st.text(max_size=8), min_size=20, max_size=200), st.integers(0, 2**63 - 1))
def test_every_card_has_one_split_of_80_15_5_per_cent(ids, seed) -> None:
    split_of = splits.assign(seed, sorted(ids))
    counts, n = Counter(split_of.values()), len(ids)
    assert set(split_of) == ids
    assert (counts["train"], counts["val"]) == (n * 80 // 100, n * 15 // 100)
    assert counts["test"] == n - counts["train"] - counts["val"]


def test_splits_depend_on_the_seed_not_on_card_order() -> None:
    assert splits.assign(3, IDS) == splits.assign(3, IDS[::-1])
    assert splits.assign(3, IDS) != splits.assign(4, IDS)


@pytest.mark.parametrize("seed", [0, 1])
def test_new_card_changes_at_most_two_splits(seed) -> None:
    before, after = splits.assign(seed, IDS), splits.assign(seed, [*IDS, "new"])
    assert sum(before[card] != after[card] for card in IDS) <= 2


@given(st.lists(st.integers(0, 60), min_size=20, max_size=200), st.integers(0, 2**63 - 1))
def test_cards_of_one_art_share_a_split(arts, seed) -> None:
    ids = [f"card-{i}" for i in range(len(arts))]
    split_of = splits.assign(seed, ids, [f"art-{art}" for art in arts])
    for art in set(arts):
        assert len({split_of[card] for card, other in zip(ids, arts, strict=True) if other == art}) == 1
    assert set(split_of) == set(ids)


def test_few_twins_leave_the_sizes_of_the_splits_exact() -> None:
    arts = [f"art-{i // 2 if i < 200 else i}" for i in range(1000)]
    assert Counter(splits.assign(0, IDS, arts).values()) == Counter(splits.assign(0, IDS).values())


def test_cards_of_unknown_art_are_apart() -> None:
    assert splits.assign(5, IDS, [""] * 1000) == splits.assign(5, IDS)


def test_order_is_stable_across_versions() -> None:
    assert splits.order(0, ["a", "b", "c", "d"]) == ["d", "a", "c", "b"]
