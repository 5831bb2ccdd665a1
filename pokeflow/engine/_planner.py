"""Read-only planner that decides for each step of a flow whether its record is reused or it runs, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pokeflow import store as stores
from pokeflow.flow import Flow, Step
from pokeflow.store import Store
from pokeflow.types import Record


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision on a step: ``record`` is the record to reuse, None if the step must run.

    ``reason`` says why it must run; ``superseded`` is the record that the new one replaces, if there is one.
    """

    record: Record | None
    reason: str = ""
    superseded: Record | None = None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with the decision on it.

    ``decision`` is None if it cannot be taken yet: the step named by ``after`` runs first, and may produce the same
    files again.
    """

    step: Step
    decision: Decision | None
    after: str = ""

    @property
    def record(self) -> Record | None:
        """Record that is reused; None if the step would run, or may run."""
        return self.decision.record if self.decision else None

    @property
    def why(self) -> str:
        """Reason why the step would run; empty if it is reused."""
        return self.decision.reason if self.decision else f"after {self.after}"


def plan(flow: Flow, since: str) -> Iterator[PlannedStep]:
    """Decide for each step of a flow, in order, whether it is reused.

    Args:
        flow: The steps, and the models that are forced.
        since: Start of this run, or of the sweep that it belongs to: a forced step is run again unless its record
            was started after that.

    """
    store = stores.open_for_flow(flow)
    done: dict[str, Record] = {}
    for step in flow.steps:
        if after := next((need for need in step.needs if need not in done), None):
            yield PlannedStep(step, None, after)
            continue
        decision = decide(flow, store, step, done, since)
        if decision.record:
            done[step.name] = decision.record
        yield PlannedStep(step, decision)


def decide(flow: Flow, store: Store, step: Step, done: Mapping[str, Record], since: str) -> Decision:
    """Decide whether a step is reused; ``done`` holds the records of all steps that it needs."""
    record = store.load(step)
    if record is None:
        return Decision(None, "no result yet")
    if step.model in flow.force and record.started < since:
        return Decision(None, "forced", record)
    if record.simulated and record.started < since:
        # The real tool may be installed by now; the digest is the same for a simulated and a real result.
        return Decision(None, "the result is simulated", record)
    if changed := changed_inputs(step, record, done):
        return Decision(None, f"{changed[0]} was run again and differs", record)
    return Decision(record)


def changed_inputs(step: Step, record: Record, done: Mapping[str, Record]) -> list[str]:
    """Return the needs of a step whose content differs from the content that the record's task read."""
    return [need for need in step.needs if record.inputs.get(need) != done[need].content]
