"""Whatever is published, whatever plugins leave in their records: documents stay sound, and every null has a reason."""

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
    MAKINGS,
    PREPARE,
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
    """A record as any plugin may leave it: figures null, absent or absurd, facts and parameters of any kind."""
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
    """Any part of the lineage as it may be published: versions missing, without benchmark, migrated."""
    found = []
    for making, bench in zip(MAKINGS, BENCHMARKS, strict=True):
        how = draw(st.sampled_from(["missing", "made", "benchmarked", "migrated"]))
        if how == "migrated":
            facts = draw(records_of(making)).facts
            given = {"records": (), "origin": "s3://old", "digest": "", "content": "", "facts": facts}
            found.append(receipt(making, **given, type=draw(st.sampled_from([making.type, ""]))))
        elif how != "missing":
            others = [draw(records_of(bench))] if how == "benchmarked" else []
            found.append(receipt(draw(records_of(making)), *others, parents=draw(st.sampled_from(PARENTS))))
    if draw(st.booleans()):
        found.append(replace(DATA_RECEIPT, records=(draw(records_of(PREPARE)),), facts=draw(FACTS)))
    return found


PARENTS = [(), (f"{TEACHER}:v1.0",), (f"{STAGE2}:v2.0", f"{TEACHER}:v1.0"), (f"{STAGE1}:v1.0", "unheard-of:v0")]
FACTS = st.sampled_from([{}, {"size_bytes": 5}, {"size_bytes": None}, {"size_bytes": "5"}])


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(trees(), st.sampled_from([LOCAL, CLOUD]))
def test_whatever_is_published_every_document_is_sound_and_every_null_has_a_reason(
    receipts: list[Receipt], about: About
) -> None:
    documents = project_documents(about, receipts)
    for name, made in documents.items():
        assert faults_of(made, name) == []
        if name != "training_history":
            again = Project(about, tuple(reversed(receipts)), documents=documents)
            assert made == document_kinds()[name](again)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.permutations(RECEIPTS), st.integers(0, len(RECEIPTS)))
def test_with_more_published_the_project_grows_older_and_newer_never_the_reverse(
    order: list[Receipt], some: int
) -> None:
    fewer, all_of_them = (manifest.document(CLOUD, some_of_them, None) for some_of_them in (order[:some], order))
    assert some == 0 or fewer["created_at"] >= all_of_them["created_at"]
    assert some == 0 or fewer["last_updated"] <= all_of_them["last_updated"]
