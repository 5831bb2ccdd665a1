"""Test that documents are valid and nulls have reasons for any published tree and any records of plugins."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokeflow.plugins import document_kinds
from pokeflow.project import Project, Receipt
from pokeflow.types import About, Record
from pokeflow_metadata import manifest

from .documents_support import (
    BENCHMARKS,
    CLOUD,
    DATA_RECEIPT,
    LOCAL,
    PREPARE,
    PRODUCERS,
    RECEIPTS,
    STAGE1,
    STAGE2,
    TEACHER,
    faults_of,
    project_documents,
    receipt,
)

FIGURE = st.none() | st.sampled_from([0.0, 0.5, 1.0, -1.0, 93.0, 1e300])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.sampled_from([0.5, -1.5]) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=3,
)


@st.composite
def records_of(draw: Any, known: Record) -> Record:
    """Draw a record of any plugin: metrics null, absent or absurd, facts and parameters of any kind."""
    metrics = {name: draw(FIGURE) if draw(st.booleans()) else value for name, value in known.metrics.items()}
    metrics = {name: value for name, value in metrics.items() if draw(st.integers(0, 3))}
    facts = {name: draw(PLAIN) if not draw(st.integers(0, 2)) else value for name, value in known.facts.items()}
    params = {name: draw(PLAIN) if not draw(st.integers(0, 2)) else value for name, value in known.params.items()}
    reasons = {name: "unknown to it" for name, value in metrics.items() if value is None}
    price = draw(st.none() | st.just(2.5))
    return replace(
        known, metrics=metrics, facts=facts, params=params, cost_usd=price,
        reasons=reasons | ({"cost_usd": "not billed"} if price is None else {}),
    )  # fmt: skip


@st.composite
def trees(draw: Any) -> list[Receipt]:
    """Draw a partly published lineage: versions may be missing, without a benchmark, or migrated."""
    receipts = []
    for producer, bench in zip(PRODUCERS, BENCHMARKS, strict=True):
        how = draw(st.sampled_from(["missing", "published", "benchmarked", "migrated"]))
        if how == "migrated":
            facts = draw(records_of(producer)).facts
            fields = {"records": (), "origin": "s3://old", "digest": "", "content": "", "facts": facts}
            receipts.append(receipt(producer, **fields, type=draw(st.sampled_from([producer.type, ""]))))
        elif how != "missing":
            others = [draw(records_of(bench))] if how == "benchmarked" else []
            receipts.append(receipt(draw(records_of(producer)), *others, parents=draw(st.sampled_from(PARENTS))))
    if draw(st.booleans()):
        receipts.append(replace(DATA_RECEIPT, records=(draw(records_of(PREPARE)),), facts=draw(FACTS)))
    return receipts


PARENTS = [(), (f"{TEACHER}:v1.0",), (f"{STAGE2}:v2.0", f"{TEACHER}:v1.0"), (f"{STAGE1}:v1.0", "unheard-of:v0")]
FACTS = st.sampled_from([{}, {"size_bytes": 5}, {"size_bytes": None}, {"size_bytes": "5"}])


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(trees(), st.sampled_from([LOCAL, CLOUD]))
def test_any_published_tree_has_valid_documents_with_reasons(receipts: list[Receipt], about: About) -> None:
    documents = project_documents(about, receipts)
    for name, document in documents.items():
        assert faults_of(document, name) == []
        if name != "training_history":
            again = Project(about, tuple(reversed(receipts)), documents=documents)
            assert document == document_kinds()[name](again)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.permutations(RECEIPTS), st.integers(0, len(RECEIPTS)))
def test_publishing_more_only_widens_the_projects_dates(order: list[Receipt], some: int) -> None:
    fewer, all_of_them = (manifest.document(CLOUD, some_of_them, None) for some_of_them in (order[:some], order))
    assert some == 0 or fewer["created_at"] >= all_of_them["created_at"]
    assert some == 0 or fewer["last_updated"] <= all_of_them["last_updated"]
