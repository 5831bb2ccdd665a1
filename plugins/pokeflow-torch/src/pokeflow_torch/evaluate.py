"""Embeddings of many images, and what a network's embeddings are worth under the recognition protocol."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow_torch.networks import Embedder
from pokeflow_vision import preprocessing, retrieval
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.preprocessing import Preprocessing

BATCH = 64


def batches(images: np.ndarray, rows: Sequence[int], spec: Preprocessing, device: torch.device) -> Iterator[Tensor]:
    """Normalised inputs [≤64, 3, S, S] of some rows of uint8 images [N, H, W, 3]."""
    for start in range(0, len(rows), BATCH):
        squares = preprocessing.to_square(images[np.asarray(rows[start : start + BATCH])], spec)
        yield torch.from_numpy(preprocessing.normalize(squares, spec)).to(device)


@torch.no_grad()
def embed(network: Embedder, images: np.ndarray, rows: Sequence[int], spec: Preprocessing, label: str) -> np.ndarray:
    """Embeddings [M, D], float32 and not normalised, of some rows of uint8 images [N, H, W, 3]."""
    device = next(network.parameters()).device
    was = network.training
    network.eval()
    found = []
    with progress.bar(label, len(rows)) as advance:
        for inputs in batches(images, rows, spec, device):
            found.append(network(inputs)[0].float().cpu().numpy())
            advance(len(inputs))
    network.train(was)
    return np.concatenate(found)


def validation(data: Dataset) -> list[int]:
    """The query rows that train and distill report on; PokeflowError where the data set has none."""
    queries = data.queries_of("val")
    if not queries:
        raise PokeflowError("prepare: the data set has no val queries; prepare it with more cards or views.")
    return queries


def truth(data: Dataset, queries: Sequence[int]) -> np.ndarray:
    """The reference row of each query's card."""
    row_of = {card.card_id: i for i, card in enumerate(data.cards)}
    return np.asarray([row_of[data.queries[j].card_id] for j in queries])


def accuracy(
    references: np.ndarray, queries: np.ndarray, data: Dataset, rows: Sequence[int]
) -> dict[str, float | None]:
    """Top-1, top-5 and artwork top-1 of query embeddings [M, D] against reference embeddings [N, D]."""
    found, _ = retrieval.nearest(queries, references, 5)
    return retrieval.accuracy(found, data, rows)


def mean_over(batch_values: Callable[[], Iterator[tuple[int, dict[str, Tensor]]]]) -> dict[str, float]:
    """Means over samples, from (batch size, means of the batch) pairs."""
    sums: dict[str, float] = {}
    count = 0
    with torch.no_grad():
        for size, values in batch_values():
            count += size
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value) * size
    return {name: value / count for name, value in sums.items()}
