"""Test the comparison of two networks on the same pictures: their agreement and accuracies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow_testkit.images_support import Numpy
from pokeflow_vision import comparison, retrieval
from pokeflow_vision.testing import data

DRAWN = data.draw_dataset()
QUERIES = DRAWN.queries_of(comparison.SPLIT)
BEFORE = comparison.embeddings_of(Numpy(data.SPEC), DRAWN, QUERIES, "fp32")


def compared(references, queries):
    return comparison.compare(BEFORE, (references, queries), DRAWN, QUERIES)


def test_network_agrees_with_itself():
    same = compared(*BEFORE)
    assert (same["cosine_to_parent"], same["cosine_to_parent_min"]) == pytest.approx((1, 1), abs=1e-6)
    assert (same["top1_agreement"], same["accuracy_drop"]) == (1, 0)
    assert same["top1_accuracy"] == same["top1_accuracy_fp32"] == 1


@given(scale=st.floats(1e-3, 1e3))
def test_embedding_length_does_not_matter(scale):
    scaled = compared(*(np.float32(scale) * part for part in BEFORE))
    assert scaled == pytest.approx(compared(*BEFORE), abs=1e-5)


def test_each_network_is_searched_in_its_own_gallery():
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(BEFORE[0].shape[1],) * 2))[0].astype(np.float32)
    metrics = compared(BEFORE[0] @ turned, BEFORE[1] @ turned)
    assert metrics["cosine_to_parent"] < 0.9
    assert metrics["top1_agreement"] == metrics["top1_accuracy"] == 1


def test_one_wrong_query_counts_its_share():
    lost = BEFORE[1].copy()
    lost[0] = -lost[0]
    metrics = compared(BEFORE[0], lost)
    share = 1 / len(QUERIES)
    assert metrics["cosine_to_parent_min"] == pytest.approx(-1, abs=1e-6)
    assert metrics["cosine_to_parent"] == pytest.approx(1 - 2 * share, abs=1e-6)
    assert metrics["accuracy_drop"] == pytest.approx(share)
    assert metrics["top1_agreement"] == pytest.approx(1 - share)
    assert metrics["top1_accuracy"] == pytest.approx(metrics["top1_accuracy_fp32"] - share)


def test_accuracy_equals_that_of_the_benchmark():
    rows = retrieval.nearest(BEFORE[1], BEFORE[0], 5)[0]
    accuracy = retrieval.accuracy(rows, DRAWN, QUERIES)["top1_accuracy"]
    assert accuracy == retrieval.top1_accuracy(rows, DRAWN, QUERIES) == compared(*BEFORE)["top1_accuracy"]


def test_top1_agreement_ignores_the_second_match():
    (card, query), references = (BEFORE[0][24], BEFORE[1][0]), BEFORE[0].copy()
    assert DRAWN.queries[QUERIES[0]].card_id == DRAWN.cards[24].card_id
    aside = np.random.default_rng(0).normal(size=card.shape).astype(np.float32)
    aside -= aside @ query / (query @ query) * query
    references[0] = card + 0.3 * np.linalg.norm(card) * aside / np.linalg.norm(aside)
    before, after = (retrieval.nearest(BEFORE[1][:1], gallery, 2)[0][0].tolist() for gallery in (BEFORE[0], references))
    assert before[0] == after[0] == 24
    assert before[1] != after[1] == 0
    assert compared(references, BEFORE[1])["top1_agreement"] == 1
