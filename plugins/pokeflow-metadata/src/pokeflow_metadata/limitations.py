"""Limitations of a version's metrics, as far as its records show them."""

from collections.abc import Iterator, Mapping
from typing import Any

from pokeflow.project import Version
from pokeflow.types import Record
from pokeflow_metadata.facts import ModelFacts, facts_of

SYNTHETIC, SIMULATED = "synthetic", "simulated"
POWER = ("power_w", "power_consumption_w")


def describe_limitations(version: Version) -> Iterator[str]:
    """Yield a Markdown list item for each limitation that the records show."""
    sentences = [*_queries(version), *_chance(version), *_loss(version.producer), *_machine(version)]
    for sentence in sentences or ["The records show none. That does not prove that there are none."]:
        yield f"- {sentence}"


def _queries(version: Version) -> Iterator[str]:
    prepared, bench = version.records.get("prepare"), version.records.get("benchmark")
    data = facts_of(prepared) if prepared else ModelFacts()
    if data.query_kind == SIMULATED:
        yield (
            "The queries are simulated captures of pictures that are among the references: the figures state how well "
            "a capture of a known picture is recognized, not how well a user's photo is."
        )
    if data.query_kind is None:
        yield "Whether the queries are photos or simulated captures is not recorded."
    if bench is None:
        yield "No benchmark is recorded: the figures were measured on the queries by which training was evaluated."
    else:
        yield from _shared(facts_of(bench).shared_artwork, data.shared_artwork)
    if data.data_kind == SYNTHETIC:
        yield "The cards are drawn by a program: the figures show that the pipeline works, nothing about real cards."
    if data.data_kind is None:
        yield "Whether the data are photos or drawn by a program is not recorded."


def _shared(*counts: int | None) -> Iterator[str]:
    """Yield a sentence on measured cards that share their art with a training card; the first known count is used."""
    total = next((count for count in counts if count is not None), None)
    if total is None:
        yield "How many of the measured cards share their art with one that the model was trained on is not recorded."
    elif total:
        yield f"Of the measured cards, {total:,} share their art with a card that the model was trained on."


def _chance(version: Version) -> Iterator[str]:
    prepared = version.records.get("prepare")
    cards = prepared.metrics.get("test_cards") if prepared else None
    if cards and "benchmark" in version.records:
        yield f"The test split has {cards:,.0f} cards: a single one of them moves an accuracy by {1 / cards:.1%}."
    seed = _inside(version.producer.params, "loop", "seed")
    if seed is not None:
        yield f"The figures are of one run with seed {seed}; how much they vary with the seed was not measured."


def _loss(producer: Record) -> Iterator[str]:
    drop, least = producer.metrics.get("accuracy_drop"), producer.metrics.get("cosine_to_parent_min")
    if drop is not None:
        yield f"On the validation queries, the compiled model recognizes {_describe_drop(drop)} its parent."
    if least is not None:
        yield f"The embedding that compilation changed most has a cosine similarity of {least:.3f} to its parent's."


def _describe_drop(drop: float) -> str:
    return (
        f"{abs(drop):.1%} {'fewer' if drop > 0 else 'more'} correctly than"
        if round(drop, 3)
        else "as many correctly as"
    )


def _machine(version: Version) -> Iterator[str]:
    bench = version.records.get("benchmark")
    if bench is None:
        return
    if device := facts_of(bench).device:
        yield f"Times were measured on one machine ({device}); other machines differ."
    if not any(bench.metrics.get(name) is not None for name in POWER):
        yield "Power was not measured."


def _inside(params: Any, *keys: str) -> Any:
    for key in keys:
        params = params.get(key) if isinstance(params, Mapping) else None
    return params
