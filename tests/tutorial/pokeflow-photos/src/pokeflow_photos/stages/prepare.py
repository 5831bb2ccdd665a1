"""Stage ``prepare``: writes the folder that every other stage reads (``pokeflow_vision.dataset``)."""

from dataclasses import replace

import numpy as np

from pokeflow import Result, Task
from pokeflow_photos import folder
from pokeflow_vision import dataset, retrieval
from pokeflow_vision.dataset import CALIBRATION, Card, Dataset, Query
from pokeflow_vision.preprocessing import load_image, to_square


def run(task: Task) -> Result:
    """Prepare the data set: the first photograph of an item is its reference, the others are queries."""
    params = task.params
    photos = folder.items(params.root)
    cards = _cards(list(photos), params.seed)
    queries = tuple(
        Query(card.card_id, CALIBRATION if card.split == "train" else card.split, view)
        for card in cards
        for view in range(1, len(photos[card.card_id]))
    )
    # Larger than the network's input, so that training has something to crop.
    stored = replace(params.preprocessing, size=params.preprocessing.size * 3 // 2)
    references = to_square((load_image(photos[card.card_id][0]) for card in cards), stored)
    views = to_square((load_image(photos[query.card_id][query.view]) for query in queries), stored)
    about = {"name": "photos", "seed": params.seed, "queries": "other photographs"}
    data = Dataset(about, params.preprocessing, cards, references, queries, views)
    dataset.write(task.output, data, {"unreadable": []})  # an unreadable picture has raised an error
    counts = {f"{split}_cards": len(data.cards_of(split)) for split in dataset.SPLITS}
    facts = {
        "protocol": retrieval.protocol(data, "test"),
        "data_kind": "photos",
        "query_kind": "photos",
        "source": {"sha256": task.fingerprint},
        "preprocessing": params.preprocessing.hash,
    }
    return Result({"cards": len(cards), **counts}, facts)


def _cards(names: list[str], seed: int) -> tuple[Card, ...]:
    """Return the items with their splits; every item is its own artwork, as none is a reprint of another."""
    counts = dataset.split_counts(len(names))
    splits = np.repeat(dataset.SPLITS, [counts[split] for split in dataset.SPLITS])
    np.random.default_rng(seed).shuffle(splits)
    return tuple(Card(n, n, "photos", str(i), n, str(s)) for i, (n, s) in enumerate(zip(names, splits, strict=True)))
