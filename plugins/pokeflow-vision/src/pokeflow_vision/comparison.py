"""What compiling cost: two networks beside each other on the same pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pokeflow_vision import retrieval
from pokeflow_vision.dataset import Dataset
from pokeflow_vision.network import Network, embed

if TYPE_CHECKING:
    import numpy as np

SPLIT = "val"
Embeddings = tuple["np.ndarray", "np.ndarray"]
"""Of all references, N×D, and of some queries, M×D."""


def embeddings_of(network: Network, data: Dataset, queries: Sequence[int], label: str) -> Embeddings:
    """What a network makes of all references and of these queries."""
    spec = data.preprocessing
    references = embed(network, data.references, range(len(data.cards)), spec, f"{label} references")
    return references, embed(network, data.query_images, queries, spec, f"{label} {SPLIT} queries")


def compared(before: Embeddings, after: Embeddings, data: Dataset, queries: Sequence[int]) -> dict[str, float]:
    """How two networks agree on the same queries, each against its own references, and how often each is right.

    ``cosine_to_parent`` (mean), ``cosine_to_parent_min`` and ``top1_agreement`` compare their answers; accuracies are
    shares, and ``accuracy_drop`` is a difference of shares, not of per cent.
    """
    import numpy as np

    cosine = np.sum(retrieval.normalized(before[1]) * retrieval.normalized(after[1]), axis=1)
    answers = [retrieval.nearest(asked, gallery, 1)[0] for gallery, asked in (before, after)]
    right = [retrieval.top1_accuracy(found, data, queries) for found in answers]
    return {
        "cosine_to_parent": float(cosine.mean()),
        "cosine_to_parent_min": float(cosine.min()),
        "top1_agreement": float((answers[0] == answers[1]).mean()),
        "top1_accuracy_fp32": right[0],
        "top1_accuracy": right[1],
        "accuracy_drop": right[0] - right[1],
    }
