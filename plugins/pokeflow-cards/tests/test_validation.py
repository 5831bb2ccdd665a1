import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_cards import validation
from pokeflow_cards.catalog import Repeat
from pokeflow_cards.scans import LeftOut, Scans
from pokeflow_vision.dataset import Card

NAMES = ["Ab", "Ab", "Ab", "Cd", "Cd", "Ef", "Gh", "Ij"]
DIGESTS = ("0", "1", "2", "3", "3", "5", "6", "3")


def scans(names=NAMES, digests=DIGESTS, artworks=None, **more) -> Scans:
    cards = tuple(
        Card(f"c{9 - i}", name, "s", str(i), artworks[i] if artworks else "", "") for i, name in enumerate(names)
    )
    return Scans("test", {}, cards, artworks is not None, np.zeros((len(names), 1)), tuple(digests), **more)


@pytest.fixture
def codes() -> np.ndarray:
    """Rows 0, 1, 2 in a chain 5 bits apart; 3, 4, 7 alike; 5 and 6 4 bits apart, of different names."""
    rng = np.random.default_rng(1)
    codes = np.where(rng.random((8, 256)) < 0.5, 1, -1).astype(np.float32)
    for row, of, bits in (
        (1, 0, slice(0, 5)),
        (2, 1, slice(5, 10)),
        (4, 3, slice(0)),
        (7, 3, slice(0)),
        (6, 5, slice(4)),
    ):
        codes[row] = codes[of]
        codes[row, bits] *= -1
    return codes


def test_exact_duplicates_are_cards_with_the_same_pixels(codes) -> None:
    found = validation.examine(scans(), codes, 6)
    assert found.exact == (("c6", "c5", "c2"),)
    assert found.exact_duplicates == 2


def test_near_duplicates_are_each_cards_nearest_other_image_and_no_exact_ones(codes) -> None:
    found = validation.examine(scans(), codes, 6)
    assert found.near == (("c4", "c3", 4), ("c9", "c8", 5), ("c8", "c7", 5))


def test_nothing_is_near_where_no_bit_may_differ(codes) -> None:
    assert validation.examine(scans(), codes, 0).near == ()


def test_artwork_is_the_smallest_id_among_near_duplicates_of_one_name_and_among_the_same_pixels(codes) -> None:
    found = validation.examine(scans(), codes, 6)
    assert found.artwork == ("c7", "c7", "c7", "c2", "c2", "c4", "c3", "c2")


def test_artwork_of_the_source_is_kept(codes) -> None:
    artworks = ("x", "", "y", "z", "z", "z", "z", "z")
    assert validation.examine(scans(artworks=artworks), codes, 6).artwork == artworks


def test_label_clashes_are_repeated_ids_and_one_image_under_several(codes) -> None:
    found = validation.examine(scans(repeats=(Repeat("c9", 12, "Other", "Ab"),)), codes, 6)
    assert found.clashes == (
        {"kind": "card_id given twice", "card_id": "c9", "line": 12, "name": "Other", "first_name": "Ab"},
        {"kind": "one image, several cards", "cards": ["c6", "c5", "c2"], "names": ["Cd", "Cd", "Ij"]},
    )


def test_the_report_begins_with_the_counts(codes) -> None:
    source = scans(left_out=(LeftOut("x", "images/x.jpg", "no such file"),))
    found = validation.examine(source, codes, 6)
    report = validation.report(source, found, 6)
    assert report["counts"] == {"unreadable": 1, "exact_duplicates": 2, "near_duplicates": 3, "label_clashes": 1}
    assert report["unreadable"] == [{"card_id": "x", "file": "images/x.jpg", "reason": "no such file"}]
    assert report["near_duplicates"][0] == {"cards": ["c4", "c3"], "names": ["Ef", "Gh"], "bits": 4}
    assert "1 cards left out, 2 exact duplicates, 3 pairs" in validation.summary(source, found)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))).map(lambda e: (n, e))
    )
)
def test_groups_are_the_connected_components_named_by_their_lowest_row(case) -> None:
    count, edges = case
    expected = list(range(count))
    for _ in range(count):
        for a, b in edges:
            low = min(expected[a], expected[b])
            expected[a] = expected[b] = low
    pairs = np.asarray(edges, int).reshape(-1, 2)
    half = len(pairs) // 2
    groups = np.arange(count)
    for part in (pairs[:half], pairs[half:]):
        groups = validation.merge_groups(groups, part[:, 0], part[:, 1])
    assert groups.tolist() == expected


def test_cards_that_are_all_alike_are_one_group() -> None:
    count = 300
    source = scans(["A"] * count, [str(i) for i in range(count)])
    found = validation.examine(source, np.ones((count, 256), np.float32), 60)
    assert len(set(found.artwork)) == 1
    assert len(found.near) == count - 1


def lines_run(function, *arguments) -> int:
    """The number of lines of a function that are run in a call, a measure of work that no other load changes."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        count += event == "line"
        return trace if frame.f_code is function.__code__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
def test_the_rounds_of_a_merge_grow_with_the_logarithm_of_a_chain(order) -> None:
    def rounds(count):
        links = np.arange(count - 1)
        links = {"rising": links, "falling": links[::-1], "mixed": np.random.default_rng(0).permutation(links)}[order]
        return lines_run(validation.merge_groups, np.arange(count), links, links + 1)

    # A row a round would run 64 times as many lines.
    assert rounds(4096) <= 3 * rounds(64)
