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
    """Return codes: rows 0, 1, 2 in a chain 5 bits apart; 3, 4, 7 equal; 5 and 6 4 bits apart, of different names."""
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


def test_exact_duplicates_have_identical_pixels(codes) -> None:
    findings = validation.examine(scans(), codes, 6)
    assert findings.exact == (("c6", "c5", "c2"),)
    assert findings.exact_duplicates == 2


def test_near_duplicates_are_nearest_and_not_identical(codes) -> None:
    findings = validation.examine(scans(), codes, 6)
    assert findings.near == (("c4", "c3", 4), ("c9", "c8", 5), ("c8", "c7", 5))


def test_distance_zero_gives_no_near_duplicates(codes) -> None:
    assert validation.examine(scans(), codes, 0).near == ()


def test_artwork_is_the_smallest_id_of_its_group(codes) -> None:
    findings = validation.examine(scans(), codes, 6)
    assert findings.artwork == ("c7", "c7", "c7", "c2", "c2", "c4", "c3", "c2")


def test_artworks_of_the_source_are_kept(codes) -> None:
    artworks = ("x", "", "y", "z", "z", "z", "z", "z")
    assert validation.examine(scans(artworks=artworks), codes, 6).artwork == artworks


def test_label_clashes_are_repeated_ids_and_shared_images(codes) -> None:
    findings = validation.examine(scans(repeats=(Repeat("c9", 12, "Other", "Ab"),)), codes, 6)
    assert findings.clashes == (
        {"kind": "card_id given twice", "card_id": "c9", "line": 12, "name": "Other", "first_name": "Ab"},
        {"kind": "one image, several cards", "cards": ["c6", "c5", "c2"], "names": ["Cd", "Cd", "Ij"]},
    )


def test_report_has_counts_and_details(codes) -> None:
    source = scans(left_out=(LeftOut("x", "images/x.jpg", "no such file"),))
    findings = validation.examine(source, codes, 6)
    report = validation.report(source, findings, 6)
    assert report["counts"] == {"unreadable": 1, "exact_duplicates": 2, "near_duplicates": 3, "label_clashes": 1}
    assert report["unreadable"] == [{"card_id": "x", "file": "images/x.jpg", "reason": "no such file"}]
    assert report["near_duplicates"][0] == {"cards": ["c4", "c3"], "names": ["Ef", "Gh"], "bits": 4}
    assert "1 cards left out, 2 exact duplicates, 3 pairs" in validation.summary(source, findings)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))).map(lambda e: (n, e))
    )
)
def test_groups_are_connected_components(case) -> None:
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


def test_identical_cards_form_one_group() -> None:
    count = 300
    source = scans(["A"] * count, [str(i) for i in range(count)])
    findings = validation.examine(source, np.ones((count, 256), np.float32), 60)
    assert len(set(findings.artwork)) == 1
    assert len(findings.near) == count - 1


def lines_run(function, *arguments) -> int:
    """Count the lines of a function that a call runs: a measure of work that machine load does not affect."""
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
def test_merge_rounds_are_logarithmic_in_chain_length(order) -> None:
    def rounds(count):
        links = np.arange(count - 1)
        links = {"rising": links, "falling": links[::-1], "mixed": np.random.default_rng(0).permutation(links)}[order]
        return lines_run(validation.merge_groups, np.arange(count), links, links + 1)

    # One row per round would run 64 times as many lines.
    assert rounds(4096) <= 3 * rounds(64)
