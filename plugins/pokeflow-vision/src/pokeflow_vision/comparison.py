"""Comparison of two networks on the same pictures, to measure the loss by compiling."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pokeflow_vision import retrieval
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import Network, embed

if TYPE_CHECKING:
    import numpy as np

SPLIT = "val"
Embeddings = tuple["np.ndarray", "np.ndarray"]
"""Embeddings of all references, float32 N×D, and of some queries, float32 M×D."""


def embeddings_of(network: Network, data: Dataset, queries: Sequence[int], label: str) -> Embeddings:
    """Return a network's embeddings of all references and of the selected queries.

    Args:
        network: The opened network.
        data: The data set.
        queries: Rows of ``data.queries``.
        label: Name of the network in progress bars and error messages.

    """
    spec = data.preprocessing
    references = embed(network, data.references, range(len(data.cards)), spec, f"{label} references")
    return references, embed(network, data.query_images, queries, spec, f"{label} {SPLIT} queries")


def compare(before: Embeddings, after: Embeddings, data: Dataset, queries: Sequence[int]) -> dict[str, float]:
    """Return metrics of the agreement of two networks on the same queries, and of the accuracy of each.

    Each network's queries are searched in its own references. ``cosine_to_parent`` (mean) and
    ``cosine_to_parent_min`` compare the embeddings of a query, ``top1_agreement`` the answers. Accuracies are
    fractions from 0 to 1, and ``accuracy_drop`` is a difference of fractions, not of per cent.

    Args:
        before: Embeddings of the float32 network.
        after: Embeddings of the compiled network.
        data: The data set.
        queries: Rows of ``data.queries`` that the embeddings belong to.

    """
    import numpy as np

    cosine = np.sum(retrieval.normalize_rows(before[1]) * retrieval.normalize_rows(after[1]), axis=1)
    matches = [retrieval.nearest(query_embeddings, gallery, 1)[0] for gallery, query_embeddings in (before, after)]
    accuracies = [retrieval.top1_accuracy(nearest, data, queries) for nearest in matches]
    return {
        "cosine_to_parent": float(cosine.mean()),
        "cosine_to_parent_min": float(cosine.min()),
        "top1_agreement": float((matches[0] == matches[1]).mean()),
        "top1_accuracy_fp32": accuracies[0],
        "top1_accuracy": accuracies[1],
        "accuracy_drop": accuracies[0] - accuracies[1],
    }
