"""Decides for each step of a flow whether its record is reused or the step is run, and why; touches nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pokeflow import store as stores
from pokeflow.flow import Flow, Step
from pokeflow.store import Store
from pokeflow.types import Record


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a step is reused: ``record`` is what is reused, None where the step is to run.

    ``reason`` says why it is to run; ``superseded`` is the record whose place the new one takes, if there is one.
    """

    record: Record | None
    reason: str = ""
    superseded: Record | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """What would happen to a step.

    ``decision`` is None where it has still to be taken: ``after`` another step, if one is named, which runs first and
    may leave the same files again.
    """

    step: Step
    decision: Decision | None
    after: str = ""

    @property
    def record(self) -> Record | None:
        """The record that is reused; None where the step would run, or may."""
        return self.decision.record if self.decision else None

    @property
    def why(self) -> str:
        """Why the step would run; empty where it is reused."""
        return self.decision.reason if self.decision else f"after {self.after}"


def plan(flow: Flow, since: str) -> Iterator[Planned]:
    """Decide for each step of a flow, in order, whether it is reused.

    Args:
        flow: the steps, and the models that are forced.
        since: when this run, or the sweep that it belongs to, began: what is forced is run again unless its record
            was started after that.

    """
    store = stores.of(flow)
    done: dict[str, Record] = {}
    for step in flow.steps:
        if after := next((need for need in step.needs if need not in done), None):
            yield Planned(step, None, after)
            continue
        decision = decide(flow, store, step, done, since)
        if decision.record:
            done[step.name] = decision.record
        yield Planned(step, decision)


def decide(flow: Flow, store: Store, step: Step, done: Mapping[str, Record], since: str) -> Decision:
    """Decide whether a step is reused, ``done`` being the records of all that it needs."""
    record = store.load(step)
    if record is None:
        return Decision(None, "not made yet")
    if step.model in flow.force and record.started < since:
        return Decision(None, "forced", record)
    if record.simulated and record.started < since:
        # What was missing then may be here by now: the digest of its result is the same.
        return Decision(None, "a double made it", record)
    if changed := changed_inputs(step, record, done):
        return Decision(None, f"{changed[0]} was made again and differs", record)
    return Decision(record)


def changed_inputs(step: Step, record: Record, done: Mapping[str, Record]) -> list[str]:
    """Return the needs of a step whose content is not what the record was made from."""
    return [need for need in step.needs if record.inputs.get(need) != done[need].content]
