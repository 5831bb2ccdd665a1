"""What a version's figures do not say, as far as its records show it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pokeflow.project import Version
from pokeflow.types import Record

POWER = ("power_w", "power_consumption_w")


def of(version: Version) -> Iterator[str]:
    """One sentence or two, as a list, for each limit that the records show."""
    found = [*_queries(version), *_chance(version), *_loss(version.making), *_machine(version)]
    for sentence in found or ["The records show none; that is no proof that there are none."]:
        yield f"- {sentence}"


def _queries(version: Version) -> Iterator[str]:
    protocols = [str(record.facts.get("protocol", "")) for record in _measured(version)]
    if any("simulated" in protocol for protocol in protocols):
        yield (
            "The queries are simulated captures of pictures that are among the references: the figures say how well a "
            "photo of a known picture is found, not how a stranger's photo fares."
        )
    if any("share their art with a train card" in protocol for protocol in protocols):
        yield "The protocol counts the measured cards whose art the model has seen on a train card."
    if "benchmark" not in version.records:
        yield "No benchmark is recorded: its figures are of the queries that its making was judged by."
    if _drawn(version.records.get("prepare")):
        yield "The cards are drawn by a program: the figures say that the chain works, and nothing of real cards."


def _drawn(prepared: Record | None) -> bool:
    return prepared is not None and prepared.backend == "synthetic"


def _chance(version: Version) -> Iterator[str]:
    prepared = version.records.get("prepare")
    cards = prepared.metrics.get("test_cards") if prepared else None
    if cards and "benchmark" in version.records:
        yield f"The test split has {cards:,.0f} cards: a single one of them moves an accuracy by {1 / cards:.1%}."
    seed = _inside(version.making.params, "loop", "seed")
    if seed is not None:
        yield f"The figures are of one run with seed {seed}; how much they vary with the seed was not measured."


def _loss(made: Record) -> Iterator[str]:
    drop, least = made.metrics.get("accuracy_drop"), made.metrics.get("cosine_to_parent_min")
    if drop is not None:
        yield f"Of the queries that compilation was judged by, {_changed(drop)} answered right after it."
    if least is not None:
        yield f"The embedding that compilation changed most has a cosine of {least:.3f} to its parent's."


def _changed(drop: float) -> str:
    return f"{abs(drop):.1%} {'fewer' if drop > 0 else 'more'} are" if round(drop, 3) else "as many are"


def _machine(version: Version) -> Iterator[str]:
    measured = version.records.get("benchmark")
    if measured is None:
        return
    if device := measured.facts.get("device"):
        yield f"Times are of one machine ({device}) and say little of any other."
    if not any(measured.metrics.get(name) is not None for name in POWER):
        yield "Power was not measured."


def _measured(version: Version) -> Iterator[Record]:
    yield version.making
    if "benchmark" in version.records:
        yield version.records["benchmark"]


def _inside(params: Any, *keys: str) -> Any:
    for key in keys:
        params = params.get(key) if isinstance(params, Mapping) else None
    return params
