"""Measurement of a whole recognizer on photos: accuracy by condition, and the answer "none of these".

Each photo is answered as a user's would be. Its answer is right if the best match is the exact printing; a match with
the same art counts for the artwork accuracy. Every photo also serves as one of a card that the gallery lacks: its best
score among the cards of other art is that of a wrong answer, which a threshold should refuse.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pokeflow import progress
from pokeflow_vision import photos
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.photos import Photo
from pokeflow_vision.recognizer import Recognizer

FILE = "conditions.csv"
OPEN_SET = "mixed"
"""Condition on which the threshold is calibrated and the open set is measured."""
FALSE_ACCEPTS = 0.01
"""Share of pictures without a card of the gallery that the threshold may accept."""
MATCHES = 30
"""Matches that are looked through for the best one of other art."""
Z = 1.959964
"""Quantile of the normal distribution for intervals of 95 %."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answer to one photo.

    Attributes:
        photo: The photo.
        right: True if the best match is the exact printing.
        same_art: True if the best match shows the same art.
        score: Score of the best match.
        other: Best score among cards of other art: the answer if the gallery lacked the card.

    """

    photo: Photo
    right: bool
    same_art: bool
    score: float
    other: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy under one condition, with its interval of 95 % after Wilson; shares of 0 to 1."""

    condition: str
    photos: int
    right: int
    top1_accuracy: float
    low: float
    high: float
    artwork_top1_accuracy: float


def measure(
    recognizer: Recognizer, data: Dataset, folder: Path, output: Path
) -> tuple[dict[str, float | None], float | None]:
    """Measure a recognizer on a data set's photos, and write ``conditions.csv`` into a task's output.

    Args:
        recognizer: The recognizer, with the data set's gallery.
        data: The data set.
        folder: Folder of the data set.
        output: Output folder of the task.

    Returns:
        Metrics: ``<condition>_top1_accuracy`` and those of ``open_set``; empty if the data set has no photos. And the
        threshold, None without photos.

    """
    outcomes = answer_photos(recognizer, data, folder, "test")
    if not outcomes:
        return {}, None
    threshold = calibrate(answer_photos(recognizer, data, folder, "val"))
    rows = accuracies(outcomes)
    write(output, rows)
    by_condition = {f"{row.condition}_top1_accuracy": row.top1_accuracy for row in rows}
    return {**by_condition, **open_set(outcomes, threshold)}, threshold


def answer_photos(recognizer: Recognizer, data: Dataset, folder: Path, split: str) -> list[Outcome]:
    """Answer the photos of a split with a recognizer whose gallery is that of the data set.

    Args:
        recognizer: The recognizer.
        data: The data set, whose cards say which share their art.
        folder: Folder of the data set.
        split: ``test`` or ``val``.

    """
    art_of = {card.card_id: card.artwork or card.card_id for card in data.cards}
    chosen = [photo for photo in photos.read_list(folder) if photo.split == split]
    outcomes = []
    with progress.bar(f"{split} photos", len(chosen)) as advance:
        for photo, encoded in zip(chosen, photos.read(folder, chosen), strict=True):
            matches = recognizer.answer(encoded, MATCHES, photo.name).matches
            best, art = matches[0], art_of.get(photo.card_id)
            other = next((match.score for match in matches if art_of[match.card_id] != art), matches[-1].score)
            same_art = art_of[best.card_id] == art
            outcomes.append(Outcome(photo, best.card_id == photo.card_id, same_art, best.score, other))
            advance()
    return outcomes


def accuracies(outcomes: Sequence[Outcome]) -> list[Accuracy]:
    """Return the accuracy under each condition, in the order of the outcomes; photos without a card do not count."""
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.photo.card_id:
            grouped.setdefault(outcome.photo.condition, []).append(outcome)
    rows = []
    for condition, group in grouped.items():
        right, total = sum(outcome.right for outcome in group), len(group)
        low, high = wilson(right, total)
        art = sum(outcome.same_art for outcome in group) / total
        rows.append(Accuracy(condition, total, right, right / total, low, high, art))
    return rows


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the interval of 95 % for a share of ``right`` in ``total`` (Wilson 1927, no continuity correction)."""
    share, square = right / total, Z * Z / total
    middle, spread = share + square / 2, Z * math.sqrt(share * (1 - share) / total + square / (4 * total))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


def calibrate(outcomes: Sequence[Outcome]) -> float | None:
    """Return the threshold that accepts 1 % of wrong answers; None without photos of the open-set condition.

    Args:
        outcomes: Answers to the photos of the split val.

    """
    import numpy as np

    wrong = _wrong_scores(outcomes)
    return float(np.quantile(wrong, 1 - FALSE_ACCEPTS)) if wrong else None


def open_set(outcomes: Sequence[Outcome], threshold: float | None) -> dict[str, float | None]:
    """Return how well scores tell cards of the gallery from all else, under the condition ``mixed``.

    Args:
        outcomes: Answers to the photos of the split test.
        threshold: The calibrated threshold, or None.

    Returns:
        ``open_set_auroc``: the probability that a photo of a card scores higher than one of none, of the gallery.
        ``accepted_accuracy``: the share of photos of a card that are answered rightly and accepted.
        ``false_accept_rate``: the share of photos of no card, or of a card that the gallery lacks, that are accepted.
        Each is None if there are no such photos or no threshold.

    """
    import numpy as np

    known = [outcome for outcome in outcomes if outcome.photo.condition == OPEN_SET and outcome.photo.card_id]
    wrong = np.sort(_wrong_scores(outcomes))
    if not known or not len(wrong):
        return dict.fromkeys(("open_set_auroc", "accepted_accuracy", "false_accept_rate"))
    scores = [outcome.score for outcome in known]
    below = (np.searchsorted(wrong, scores, "left") + np.searchsorted(wrong, scores, "right")) / 2
    accepted = [outcome.right and threshold is not None and outcome.score >= threshold for outcome in known]
    return {
        "open_set_auroc": float(below.mean() / len(wrong)),
        "accepted_accuracy": None if threshold is None else sum(accepted) / len(known),
        "false_accept_rate": None if threshold is None else float((wrong >= threshold).mean()),
    }


def _wrong_scores(outcomes: Sequence[Outcome]) -> list[float]:
    """Return the scores of wrong answers: to photos of no card, and to those whose card the gallery lacks."""
    pictured = [outcome for outcome in outcomes if outcome.photo.condition == OPEN_SET or not outcome.photo.card_id]
    return [outcome.other if outcome.photo.card_id else outcome.score for outcome in pictured]


def write(folder: Path, rows: Sequence[Accuracy]) -> None:
    """Write the accuracies into a task's folder as ``conditions.csv``."""
    with (folder / FILE).open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, [field.name for field in fields(Accuracy)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(to_row(row) for row in rows)


def to_row(accuracy: Accuracy) -> dict[str, str | int | float]:
    """Return an accuracy as a row of a CSV file, with shares rounded to six digits."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(accuracy).items()}
