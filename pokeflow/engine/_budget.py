"""What tasks may be expected to take and to cost, and the guard that asks before money is spent."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pokeflow import store as stores
from pokeflow.errors import ConfigError, Fault
from pokeflow.flow import Flow, Step
from pokeflow.plugins import Registry
from pokeflow.store import Store
from pokeflow.types import INSTANCE, JOB_SECONDS, Budget, Record


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a task is expected to take and to cost; None is unknown. ``limit_usd``: more it cannot cost.

    ``billed`` is whether anybody sends a bill for it.
    """

    seconds: float | None
    usd: float | None
    limit_usd: float | None
    billed: bool

    @property
    def expected(self) -> float | None:
        """What the budget is asked for: the expectation, or without one the limit."""
        return self.limit_usd if self.usd is None else self.usd

    @property
    def basis(self) -> str:
        """What that is taken from, in words."""
        return "if it takes all of its time limit" if self.usd is None else "as the last time"


def estimate(step: Step, registry: Registry, store: Store) -> Estimate:
    """From how long the same stage of the model took the last time on such a machine: the only honest way there is."""
    executor = registry.executors[step.on]
    seconds = _last_seconds(step, store, everywhere=executor.remote)
    if executor.price is None:
        return Estimate(seconds, None, None, billed=False)
    usd = None if seconds is None else executor.price_of(step.place, seconds)
    limit = executor.limit_of(step.place)
    return Estimate(seconds, usd, None if limit is None else executor.price_of(step.place, limit), billed=True)


def check(flow: Flow, registry: Registry, steps: Iterable[Step]) -> None:
    """Nothing, where the budget allows the steps that would run; ConfigError with the figures otherwise."""
    if flow.budget != Budget():
        found = {step.name: estimate(step, registry, stores.of(flow)) for step in steps}
        require(flow.budget, {name: cost for name, cost in found.items() if cost.billed}, "this run")


def require(budget: Budget, costs: Mapping[str, Estimate], what: str) -> None:
    """Nothing, where ``what`` costs no more than the budget allows; ConfigError with the figures otherwise."""
    if budget == Budget():
        return
    faults: list[Fault] = []
    known: dict[str, float] = {}
    for name, cost in costs.items():
        if (usd := cost.expected) is None:
            message = "nobody knows what it costs on its machine, and project.budget_usd sets a limit."
            faults.append(Fault(name, message))
            continue
        known[name] = usd
        if budget.task is not None and usd > budget.task:
            message = f"{name} may cost ${usd:,.2f} ({cost.basis}), above {_usd(budget.task)}. {MEND}"
            faults.append(Fault("project.budget_usd.task", message))
    total = sum(known.values())
    if budget.run is not None and total > budget.run:
        parts = ", ".join(f"{name} ${usd:,.2f} ({costs[name].basis})" for name, usd in known.items())
        message = f"{what} may cost ${total:,.2f}, above {_usd(budget.run)}: {parts}. {MEND}"
        faults.append(Fault("project.budget_usd.run", message))
    if faults:
        raise ConfigError(faults)


def require_at_most(budget: Budget, at_most: Mapping[str, float | None], what: str) -> None:
    """Nothing, where a budget allows what these tasks cost at most (None: unknown); ConfigError otherwise."""
    require(budget, {name: Estimate(None, None, usd, billed=True) for name, usd in at_most.items()}, what)


MEND = "Raise the budget, shorten the executor's time limit, or take a cheaper machine; nothing was started."


def _usd(amount: float) -> str:
    return f"the budget of ${amount:,.2f}"


def _seconds_of(record: Record) -> float:
    """How long a task took: its job, where that told a time, else the task alone."""
    seconds = record.environment.get(JOB_SECONDS)
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds < math.inf else record.seconds


def _last_seconds(step: Step, store: Store, *, everywhere: bool) -> float | None:
    """How long it took the last time, by the records of this machine, or of those in the bucket as well."""
    kind = getattr(step.place, INSTANCE, None)
    here = (record for record, _ in store.records(step.stage, step.model))
    finished = [
        (record.finished, _seconds_of(record))
        for record in (store.shared_records(step.stage, step.model) if everywhere else here)
        if record.executor == step.on and record.environment.get(INSTANCE) == kind
    ]
    return max(finished)[1] if finished else None
