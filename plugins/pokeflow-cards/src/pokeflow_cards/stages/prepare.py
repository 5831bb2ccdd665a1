"""Stage ``prepare``: turns scans into a data set of references, query views and splits, with a validation report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pokeflow import Result, Task
from pokeflow_cards import baseline, folder, phash, photo_set, queries, samples, splits, synthetic, validation
from pokeflow_cards.params import NEAR_DUPLICATE_BITS, FolderParams, SyntheticParams
from pokeflow_cards.scans import ASPECT, Scans
from pokeflow_cards.validation import Validation
from pokeflow_vision import dataset, photos, retrieval
from pokeflow_vision.dataset import Card, Dataset, Query

if TYPE_CHECKING:
    import numpy as np


def run_folder(task: Task) -> Result:
    """Prepare a data set from a folder of scans."""
    params: FolderParams = task.params
    return _prepare(task, params, folder.scans(params, task.work), params.near_duplicates)


def run_synthetic(task: Task) -> Result:
    """Prepare a data set from a drawn deck."""
    params: SyntheticParams = task.params
    return _prepare(task, params, synthetic.scans(params, task.work), NEAR_DUPLICATE_BITS)


def _prepare(task: Task, params: FolderParams | SyntheticParams, scans: Scans, within: int) -> Result:
    codes = phash.codes(scans.references)
    findings = validation.examine(scans, codes, within)
    split_of = splits.assign(params.seed, [card.card_id for card in scans.cards], findings.artwork)
    cards = tuple(
        replace(card, split=split_of[card.card_id], artwork=artwork)
        for card, artwork in zip(scans.cards, findings.artwork, strict=True)
    )
    views = queries.plan(params.seed, {card.card_id: card.split for card in cards}, params.queries)
    pictures = queries.render_queries(
        views, scans, params.seed, params.queries.strength, params.preprocessing, task.work / "queries.npy"
    )
    description = _description(scans, cards, views, params)
    data = Dataset(description, params.preprocessing, cards, scans.references, views, pictures)
    dataset.write(task.output, data, validation.report(scans, findings, within))
    taken = photo_set.plan(params.seed, split_of, params.photos)
    photos.write(task.output, photo_set.render(taken, scans, params.seed))
    baselines = baseline.measure(task.output, codes, cards)
    samples.write(task.output, data)
    result = _result(data, scans, findings, codes, params.queries.strength)
    result = replace(result, metrics={**result.metrics, **baselines})
    for file in ("references.npy", "queries.npy"):
        (task.work / file).unlink()
    return result


def _description(
    scans: Scans, cards: tuple[Card, ...], views: tuple[Query, ...], params: FolderParams | SyntheticParams
) -> Mapping[str, Any]:
    cards_per_split, queries_per_split = Counter(card.split for card in cards), Counter(query.split for query in views)
    strength = params.queries.strength
    return {
        "name": scans.name,
        "seed": params.seed,
        "counts": {"cards": len(cards), "splits": dict(cards_per_split), "queries": dict(queries_per_split)},
        "queries": f"simulated phone captures, strength {strength}" if strength else "the clean references themselves",
        "source": scans.source,
        "aspect": ASPECT,
    }


def _result(data: Dataset, scans: Scans, findings: Validation, codes: "np.ndarray", strength: float) -> Result:
    rows = data.queries_of("test")
    first, last = rows[0], rows[-1] + 1
    baseline = phash.accuracy(codes, phash.codes(data.query_images[first:last], "hashes of test views"), data, rows)
    cards_per_split = data.about["counts"]["splits"]
    metrics = {
        "cards": len(data.cards),
        **{f"{split}_cards": cards_per_split[split] for split in dataset.SPLITS},
        **validation.counts(scans, findings),
        **{f"phash256_{name}": value for name, value in baseline.items()},
    }
    views = len(data.queries_of(dataset.CALIBRATION))
    unknown = sum(not card.artwork for card in data.cards)
    reason = f"the CSV's column artwork is empty for {unknown} cards"
    reasons = dict.fromkeys(("phash256_artwork_top1_accuracy", "shared_artwork"), reason) if unknown else {}
    facts = {
        "protocol": retrieval.protocol(data, "test"),
        "shared_artwork": retrieval.shared_artwork(data, "test"),
        "data_kind": "photos" if scans.raw is not None else "synthetic",
        "query_kind": "simulated" if strength else "references",
        "baseline": "pHash, 256 bits, on the same queries and references; nearest by Hamming distance",
        "preprocessing": data.preprocessing.hash,
        "validation": validation.summary(scans, findings),
        "source": dict(data.about["source"]),
        "counts": dict(data.about["counts"]),
        "calibration": {"samples": views, "size_bytes": views * data.query_images[0].nbytes},
        "raw": None if scans.raw is None else dict(scans.raw),
    }
    if scans.raw is None:
        reasons["raw"] = "the cards are drawn; nothing is read"
    return Result({name: None if value is None else float(value) for name, value in metrics.items()}, facts, reasons)
