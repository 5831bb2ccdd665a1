"""What compiling cost: agreement of two networks on the same pictures, and the accuracy of each."""

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


def test_a_network_agrees_with_itself():
    same = compared(*BEFORE)
    assert (same["cosine_to_parent"], same["cosine_to_parent_min"]) == pytest.approx((1, 1), abs=1e-6)
    assert (same["top1_agreement"], same["accuracy_drop"]) == (1, 0)
    assert same["top1_accuracy"] == same["top1_accuracy_fp32"] == 1


@given(scale=st.floats(1e-3, 1e3))
def test_the_length_of_embeddings_says_nothing(scale):
    scaled = compared(*(np.float32(scale) * part for part in BEFORE))
    assert scaled == pytest.approx(compared(*BEFORE), abs=1e-5)


def test_each_is_asked_in_its_own_gallery():
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(BEFORE[0].shape[1],) * 2))[0].astype(np.float32)
    found = compared(BEFORE[0] @ turned, BEFORE[1] @ turned)
    assert found["cosine_to_parent"] < 0.9
    assert found["top1_agreement"] == found["top1_accuracy"] == 1


def test_what_one_query_loses_is_a_share_of_all():
    lost = BEFORE[1].copy()
    lost[0] = -lost[0]
    found = compared(BEFORE[0], lost)
    share = 1 / len(QUERIES)
    assert found["cosine_to_parent_min"] == pytest.approx(-1, abs=1e-6)
    assert found["cosine_to_parent"] == pytest.approx(1 - 2 * share, abs=1e-6)
    assert found["accuracy_drop"] == pytest.approx(share)
    assert found["top1_agreement"] == pytest.approx(1 - share)
    assert found["top1_accuracy"] == pytest.approx(found["top1_accuracy_fp32"] - share)


def test_the_accuracy_is_the_one_that_benchmarks_tell():
    found = retrieval.nearest(BEFORE[1], BEFORE[0], 5)[0]
    told = retrieval.accuracy(found, DRAWN, QUERIES)["top1_accuracy"]
    assert told == retrieval.top1_accuracy(found, DRAWN, QUERIES) == compared(*BEFORE)["top1_accuracy"]


def test_answers_agree_where_the_nearest_is_the_same_whatever_comes_second():
    (card, query), references = (BEFORE[0][24], BEFORE[1][0]), BEFORE[0].copy()
    assert DRAWN.queries[QUERIES[0]].card_id == DRAWN.cards[24].card_id
    aside = np.random.default_rng(0).normal(size=card.shape).astype(np.float32)
    aside -= aside @ query / (query @ query) * query
    references[0] = card + 0.3 * np.linalg.norm(card) * aside / np.linalg.norm(aside)
    before, after = (retrieval.nearest(BEFORE[1][:1], gallery, 2)[0][0].tolist() for gallery in (BEFORE[0], references))
    assert before[0] == after[0] == 24
    assert before[1] != after[1] == 0
    assert compared(references, BEFORE[1])["top1_agreement"] == 1
