"""Embeddings of many images, and their accuracy under the recognition protocol."""

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
    """Yield normalized inputs [≤64, 3, S, S] on ``device`` from the chosen ``rows`` of uint8 images [N, H, W, 3]."""
    for start in range(0, len(rows), BATCH):
        squares = preprocessing.to_square(images[np.asarray(rows[start : start + BATCH])], spec)
        yield torch.from_numpy(preprocessing.normalize(squares, spec)).to(device)


@torch.no_grad()
def embed(network: Embedder, images: np.ndarray, rows: Sequence[int], spec: Preprocessing, label: str) -> np.ndarray:
    """Embed the chosen rows of a stack of images in evaluation mode; the network then returns to its former mode.

    Args:
        network: The network, which decides the device.
        images: Images [N, H, W, 3], uint8.
        rows: Positions [M] of the images to embed; at least one.
        spec: Preprocessing of the images.
        label: Text of the progress bar.

    Returns:
        Embeddings [M, D], float32 and not scaled to length 1.

    """
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    parts = []
    with progress.bar(label, len(rows)) as advance:
        for inputs in batches(images, rows, spec, device):
            parts.append(network(inputs)[0].float().cpu().numpy())
            advance(len(inputs))
    network.train(was_training)
    return np.concatenate(parts)


def validation(data: Dataset) -> list[int]:
    """Return the positions of the val queries, on which train and distill report.

    Raises:
        PokeflowError: If the data set has no val queries.

    """
    queries = data.queries_of("val")
    if not queries:
        raise PokeflowError("prepare: the data set has no val queries. Prepare it with more cards or views.")
    return queries


def truth(data: Dataset, queries: Sequence[int]) -> np.ndarray:
    """Return the reference row of each query's card, as positions [M] in the gallery ``data.cards``."""
    row_of = {card.card_id: i for i, card in enumerate(data.cards)}
    return np.asarray([row_of[data.queries[j].card_id] for j in queries])


def accuracy(
    references: np.ndarray, queries: np.ndarray, data: Dataset, rows: Sequence[int]
) -> dict[str, float | None]:
    """Measure top-1, top-5 and artwork top-1 accuracy of queries against the references.

    Args:
        references: Embeddings [N, D] of all references.
        queries: Embeddings [M, D] of the queries.
        data: The data set.
        rows: Positions [M] of the queries in the data set.

    Returns:
        Shares between 0 and 1 by metric name; None if the data set does not allow the metric.

    """
    nearest, _ = retrieval.nearest(queries, references, 5)
    return retrieval.accuracy(nearest, data, rows)


def mean_over(batch_values: Callable[[], Iterator[tuple[int, dict[str, Tensor]]]]) -> dict[str, float]:
    """Average metrics over all samples.

    Args:
        batch_values: Yields for each batch its size and its mean metrics, scalars by name.

    Returns:
        Means over samples by name.

    """
    sums: dict[str, float] = {}
    count = 0
    with torch.no_grad():
        for size, values in batch_values():
            count += size
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value) * size
    return {name: value / count for name, value in sums.items()}
