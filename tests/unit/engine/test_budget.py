"""What tasks may cost: as the last time on such a machine, else at most their limit; a budget is kept beforehand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import pokeflow
from pokeflow import ConfigError, Executor, engine, plugins
from pokeflow.cli import _tables as tables
from pokeflow.engine import _budget as budget
from pokeflow.engine import _runner as runner
from pokeflow.engine._budget import Estimate
from pokeflow.engine.executors import run_here
from pokeflow.flow import Flow
from pokeflow.objects._folder import Folder
from pokeflow.plugins import Registry
from pokeflow.store._local import Store, open_for_flow
from pokeflow.types import Budget, RemoteStore
from pokeflow_testkit.support import TOY_MODELS, build_flow


@dataclass(frozen=True)
class Machine:
    """A dollar a second, unless its price is unknown."""

    instance_type: str = "large"
    priced: bool = True
    hours: float | None = 1.0


def price(params: Machine, seconds: float) -> float | None:
    return seconds if params.priced else None


def limit(params: Machine) -> float:
    return 60.0


@pytest.fixture
def registry() -> Registry:
    found = plugins.registry(plugins.manager())
    paid = Executor("paid", run_here, Machine, price=price, limit=limit)
    endless = replace(paid, name="endless", limit=None)
    return replace(found, executors={**found.executors, "paid": paid, "endless": endless})


@pytest.fixture
def flow_of(tmp_path: Path) -> Callable[..., Flow]:
    def make(place: Any = None, on: str = "paid", **changes: Any) -> Flow:
        flow = build_flow(tmp_path / "store", TOY_MODELS, only=["student"], stages=["distill"])
        steps = tuple(replace(step, executor=on, executor_params=place or Machine()) for step in flow.steps)
        return replace(flow, steps=steps, **changes)

    return make


def checked(flow: Flow, registry: Registry) -> None:
    budget.check(flow, registry, flow.steps)


def run(flow: Flow, registry: Registry) -> None:
    since = engine.now()
    engine.run(flow, registry, plugins.manager().hook, since, engine.plan(flow, since))


def ran_before(flow: Flow, seconds: float, **environment: Any) -> None:
    """A record of the teacher, made with other parameters on a paid machine."""
    local = replace(flow, steps=tuple(replace(step, executor="local", executor_params=None) for step in flow.steps[:1]))
    (record,) = pokeflow.run(local).records.values()
    told = {**record.environment, **environment}
    open_for_flow(flow).amend(replace(record, executor=flow.steps[0].executor, seconds=seconds, environment=told))


def test_without_a_record_it_is_the_limit(flow_of, registry):
    flow = flow_of()
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)) == Estimate(None, None, 60.0, billed=True)
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)).budgeted_usd == 60.0


def test_it_is_what_the_same_machine_took_the_last_time(flow_of, registry):
    flow = flow_of()
    ran_before(flow, 5.0, instance_type="large")
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)) == Estimate(5.0, 5.0, 60.0, billed=True)
    small = flow_of(Machine("small"))
    assert budget.estimate(small.steps[0], registry, open_for_flow(small)).seconds is None


def test_how_long_the_machine_was_taken_counts_where_that_is_known(flow_of, registry):
    flow = flow_of()
    ran_before(flow, 5.0, instance_type="large", job_seconds=200)
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)).usd == 200.0


def test_what_jobs_left_in_the_bucket_alone_counts_too(flow_of, registry, tmp_path):
    (tmp_path / "bucket").mkdir()
    flow = flow_of(shared=RemoteStore(Folder(tmp_path / "bucket").uri))
    ran_before(flow, 5.0, instance_type="large")
    elsewhere = Store(tmp_path / "other", open_for_flow(flow).remote)
    assert budget.estimate(flow.steps[0], registry, elsewhere).seconds is None
    jobs = replace(registry, executors={**registry.executors, "paid": replace(registry.executors["paid"], remote=True)})
    assert budget.estimate(flow.steps[0], jobs, elsewhere).seconds == 5.0


@pytest.mark.parametrize(
    ("allowed", "faults"),
    [
        (Budget(), []),
        (Budget(run=120), []),
        (Budget(task=60), []),
        (Budget(run=119), ["project.budget_usd.run"]),
        (Budget(task=59), ["project.budget_usd.task"] * 2),
        (Budget(task=59, run=1), ["project.budget_usd.task"] * 2 + ["project.budget_usd.run"]),
    ],
)
def test_a_budget_holds_for_a_task_and_for_the_run(flow_of, registry, allowed, faults):
    flow = flow_of(budget=allowed)
    if not faults:
        checked(flow, registry)
        return
    with pytest.raises(ConfigError) as error:
        checked(flow, registry)
    assert [fault.path for fault in error.value.faults] == faults
    assert "(if it uses its whole time limit)" in str(error.value)
    assert "nothing was started" in str(error.value)
    assert error.value.exit_code == 2


def test_what_nobody_knows_the_cost_of_is_refused_where_there_is_a_budget(flow_of, registry):
    for flow in (
        flow_of(Machine(priced=False), budget=Budget(run=1e9)),
        flow_of(on="endless", budget=Budget(task=1e9)),
    ):
        with pytest.raises(ConfigError, match="its cost on this type of machine is unknown"):
            checked(flow, registry)
    checked(flow_of(Machine(priced=False)), registry)
    checked(flow_of(on="local", budget=Budget(run=0)), registry)  # nobody sends a bill for it


def test_a_run_above_its_budget_starts_nothing(flow_of, registry, tmp_path):
    with pytest.raises(ConfigError):
        run(flow_of(budget=Budget(run=1)), registry)
    assert not (tmp_path / "store").exists()


def test_what_is_made_already_costs_nothing(flow_of, registry):
    flow = flow_of(on="paid")
    run(flow, registry)
    run(replace(flow, budget=Budget(run=0)), registry)


def test_the_plan_shows_it(flow_of, registry):
    flow = flow_of()
    text = tables.plan(flow, engine.plan(flow, runner.now()), registry)
    assert text.count("up to $60.00") == 2
    assert "at most $120.00" in text
    ran_before(flow, 5.0, instance_type="large")
    other = replace(flow, steps=(replace(flow.steps[0], digest="0" * 16), flow.steps[1]))
    assert "$5.00" in tables.plan(other, engine.plan(other, runner.now()), registry)
