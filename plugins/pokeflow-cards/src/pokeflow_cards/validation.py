"""Validation of the scans: omitted cards, exact and near duplicates, label clashes."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pokeflow_cards import phash
from pokeflow_cards.scans import Scans

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Validation:
    """Findings of the validation, as card ids; ``artwork`` names the art that each card shows."""

    exact: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, str, int], ...]
    clashes: tuple[dict[str, Any], ...]
    artwork: tuple[str, ...]

    @property
    def exact_duplicates(self) -> int:
        """Number of cards whose image equals, pixel for pixel, that of an earlier card."""
        return sum(len(group) - 1 for group in self.exact)


def examine(scans: Scans, codes: "np.ndarray", within: int) -> Validation:
    """Validate all scans.

    Args:
        scans: The cards and their references.
        codes: Perceptual hashes of the references, float32 N×256 of +1 and −1.
        within: Largest Hamming distance of near duplicates, in bits.

    """
    import numpy as np

    ids = [card.card_id for card in scans.cards]
    image = _numbers(scans.digests)
    name = _numbers([card.name for card in scans.cards])
    groups = np.arange(len(ids))
    # Of each card, its nearest neighbour as distance × N + row: one minimum finds both.
    nearest = np.full(len(ids), (phash.BITS + 1) * len(ids))
    for i, j, bits in phash.pairs(codes, within):
        different = image[i] != image[j]
        np.minimum.at(nearest, i[different], bits[different] * len(ids) + j[different])
        np.minimum.at(nearest, j[different], bits[different] * len(ids) + i[different])
        same = (name[i] == name[j]) | ~different
        groups = merge_groups(groups, i[same], j[same])
    exact = _exact(scans, ids)
    return Validation(exact, _near(nearest, ids), _clashes(scans, exact), _artwork(scans, groups))


def merge_groups(groups: "np.ndarray", i: "np.ndarray", j: "np.ndarray") -> "np.ndarray":
    """Return the groups after the groups of rows i and j of each pair have been merged.

    Args:
        groups: The lowest row of each row's group, int N.
        i: First row of each pair, int P.
        j: Second row of each pair, int P.

    Returns:
        The lowest row of each row's merged group, int N.

    """
    import numpy as np

    groups = groups.copy()
    while (groups[i] != groups[j]).any():
        low = np.minimum(groups[i], groups[j])
        np.minimum.at(groups, groups[i], low)
        np.minimum.at(groups, groups[j], low)
        while (groups != groups[groups]).any():
            groups = groups[groups]
    return groups


def _numbers(values: "tuple[str, ...] | list[str]") -> "np.ndarray":
    import numpy as np

    number = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return np.asarray([number[value] for value in values])


def _exact(scans: Scans, ids: list[str]) -> tuple[tuple[str, ...], ...]:
    by_digest: defaultdict[str, list[str]] = defaultdict(list)
    for card_id, digest in zip(ids, scans.digests, strict=True):
        by_digest[digest].append(card_id)
    return tuple(tuple(group) for group in by_digest.values() if len(group) > 1)


def _near(nearest: "np.ndarray", ids: list[str]) -> tuple[tuple[str, str, int], ...]:
    """Return each card with its nearest neighbour and the distance in bits, closest first; mutual pairs occur once."""
    pairs = set()
    for row, code in enumerate(nearest.tolist()):
        bits, neighbour = divmod(code, len(ids))
        if bits <= phash.BITS:
            pairs.add((bits, min(row, neighbour), max(row, neighbour)))
    return tuple((ids[a], ids[b], bits) for bits, a, b in sorted(pairs))


def _clashes(scans: Scans, exact: tuple[tuple[str, ...], ...]) -> tuple[dict[str, Any], ...]:
    card_of = {card.card_id: card for card in scans.cards}
    repeats = ({"kind": "card_id given twice", **asdict(repeat)} for repeat in scans.repeats)
    shared_images = (
        {"kind": "one image, several cards", "cards": list(group), "names": [card_of[c].name for c in group]}
        for group in exact
    )
    return (*repeats, *shared_images)


def _artwork(scans: Scans, groups: "np.ndarray") -> tuple[str, ...]:
    """Return each card's artwork: as the source states it, else the smallest card_id of the card's group."""
    if scans.has_artwork:
        return tuple(card.artwork for card in scans.cards)
    name_of: dict[int, str] = {}
    for card, group in zip(scans.cards, groups.tolist(), strict=True):
        name_of[group] = min(name_of.get(group, card.card_id), card.card_id)
    return tuple(name_of[group] for group in groups.tolist())


def report(scans: Scans, findings: Validation, within: int) -> dict[str, Any]:
    """Return the content of validation.json: counts first, then every finding."""
    name_of = {card.card_id: card.name for card in scans.cards}
    return {
        "counts": counts(scans, findings),
        "near_duplicates_within_bits": within,
        "unreadable": [asdict(item) for item in scans.left_out],
        "exact_duplicates": [list(group) for group in findings.exact],
        "near_duplicates": [
            {"cards": [a, b], "names": [name_of[a], name_of[b]], "bits": bits} for a, b, bits in findings.near
        ],
        "label_clashes": list(findings.clashes),
    }


def counts(scans: Scans, findings: Validation) -> dict[str, int]:
    """Return the number of findings of each kind: omitted cards, surplus exact duplicates, near pairs, clashes."""
    return {
        "unreadable": len(scans.left_out),
        "exact_duplicates": findings.exact_duplicates,
        "near_duplicates": len(findings.near),
        "label_clashes": len(findings.clashes),
    }


def summary(scans: Scans, findings: Validation) -> str:
    """Return the findings in one sentence."""
    figures = counts(scans, findings)
    return (
        f"{figures['unreadable']} cards left out, {figures['exact_duplicates']} exact duplicates, "
        f"{figures['near_duplicates']} pairs of near duplicates, {figures['label_clashes']} label clashes"
    )
