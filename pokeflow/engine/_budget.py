"""Estimates of the duration and cost of tasks, and the check of the budget before money is spent."""

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
    """Expected duration and cost of a task; None is unknown. ``limit_usd`` is an upper bound of the cost.

    ``billed`` is False if the executor costs nothing.
    """

    seconds: float | None
    usd: float | None
    limit_usd: float | None
    billed: bool

    @property
    def budgeted_usd(self) -> float | None:
        """Amount to compare with the budget: the expected cost or, if that is unknown, the limit."""
        return self.limit_usd if self.usd is None else self.usd

    @property
    def basis(self) -> str:
        """Basis of ``budgeted_usd``, in words."""
        return "if it uses its whole time limit" if self.usd is None else "as in the last run"


def estimate(step: Step, registry: Registry, store: Store) -> Estimate:
    """Estimate a task's duration and cost from the last run of its model's stage on the same machine type."""
    executor = registry.executors[step.executor]
    seconds = _last_seconds(step, store, everywhere=executor.remote)
    if executor.price is None:
        return Estimate(seconds, None, None, billed=False)
    usd = None if seconds is None else executor.price_of(step.executor_params, seconds)
    limit = executor.limit_of(step.executor_params)
    limit_usd = None if limit is None else executor.price_of(step.executor_params, limit)
    return Estimate(seconds, usd, limit_usd, billed=True)


def check(flow: Flow, registry: Registry, steps: Iterable[Step]) -> None:
    """Raise a ConfigError with the amounts if the steps that would run may exceed the flow's budget."""
    if flow.budget != Budget():
        estimates = {step.name: estimate(step, registry, stores.open_for_flow(flow)) for step in steps}
        require(flow.budget, {name: cost for name, cost in estimates.items() if cost.billed}, "this run")


def require(budget: Budget, costs: Mapping[str, Estimate], label: str) -> None:
    """Raise a ConfigError with the amounts if ``label`` may cost more than the budget, or an unknown amount."""
    if budget == Budget():
        return
    faults: list[Fault] = []
    amounts: dict[str, float] = {}
    for name, cost in costs.items():
        if (usd := cost.budgeted_usd) is None:
            message = "its cost on this type of machine is unknown, and project.budget_usd limits it."
            faults.append(Fault(name, f"{message} Configure the executor's price, or remove project.budget_usd."))
            continue
        amounts[name] = usd
        if budget.task is not None and usd > budget.task:
            message = f"{name} may cost ${usd:,.2f} ({cost.basis}), above {_usd(budget.task)}. {REMEDY}"
            faults.append(Fault("project.budget_usd.task", message))
    total = sum(amounts.values())
    if budget.run is not None and total > budget.run:
        parts = ", ".join(f"{name} ${usd:,.2f} ({costs[name].basis})" for name, usd in amounts.items())
        message = f"{label} may cost ${total:,.2f}, above {_usd(budget.run)}: {parts}. {REMEDY}"
        faults.append(Fault("project.budget_usd.run", message))
    if faults:
        raise ConfigError(faults)


def require_at_most(budget: Budget, at_most: Mapping[str, float | None], label: str) -> None:
    """Raise a ConfigError with the amounts if tasks may cost more than the budget, or an unknown amount.

    ``at_most`` is the maximum cost in US dollars (None: unknown) by task; ``label`` the subject of the message.
    """
    require(budget, {name: Estimate(None, None, usd, billed=True) for name, usd in at_most.items()}, label)


REMEDY = "Raise the budget, shorten the executor's time limit, or use a cheaper machine; nothing was started."


def _usd(amount: float) -> str:
    return f"the budget of ${amount:,.2f}"


def _seconds_of(record: Record) -> float:
    """Return the seconds of a task's job if its record has them, else those of the backend alone."""
    seconds = record.environment.get(JOB_SECONDS)
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds < math.inf else record.seconds


def _last_seconds(step: Step, store: Store, *, everywhere: bool) -> float | None:
    """Return the last duration in seconds by the records of this machine and, if ``everywhere``, of the bucket."""
    kind = getattr(step.executor_params, INSTANCE, None)
    here = (record for record, _ in store.records(step.stage, step.model))
    finished = [
        (record.finished, _seconds_of(record))
        for record in (store.shared_records(step.stage, step.model) if everywhere else here)
        if record.executor == step.executor and record.environment.get(INSTANCE) == kind
    ]
    return max(finished)[1] if finished else None
