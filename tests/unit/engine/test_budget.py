"""Estimate what tasks may cost, and refuse a run above its budget before it starts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

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
from pokeflow_testkit.records import build_record
from pokeflow_testkit.support import TOY_MODELS, build_flow, run_flow


@dataclass(frozen=True)
class Machine:
    """A dollar a second, unless its price is unknown."""

    instance_type: str = "large"
    priced: bool = True
    hours: float | None = 1.0


def price(params: Machine, seconds: float) -> float | None:
    return seconds if params.priced else None


def free(params: Machine, seconds: float) -> float:
    return 0.0


def limit(params: Machine) -> float:
    return 60.0


@pytest.fixture
def registry() -> Registry:
    base = plugins.registry(plugins.manager())
    paid = Executor("paid", run_here, Machine, price=price, limit=limit)
    more = (
        paid,
        replace(paid, name="endless", limit=None),
        replace(paid, name="free", price=free),
        replace(paid, name="other"),
    )
    return replace(base, executors={**base.executors, **{executor.name: executor for executor in more}})


@pytest.fixture
def flow_of(tmp_path: Path) -> Callable[..., Flow]:
    def make(machine: Any = None, on: str = "paid", **changes: Any) -> Flow:
        flow = build_flow(tmp_path / "store", TOY_MODELS, only=["student"], stages=["distill"])
        steps = tuple(replace(step, executor=on, executor_params=machine or Machine()) for step in flow.steps)
        return replace(flow, steps=steps, **changes)

    return make


def check(flow: Flow, registry: Registry) -> None:
    budget.check(flow, registry, flow.steps)


def run(flow: Flow, registry: Registry) -> None:
    since = engine.now()
    engine.run(flow, registry, plugins.manager().hook, since, engine.plan(flow, since))


def add_earlier_run(flow: Flow, seconds: float, **environment: Any) -> None:
    """Commit a record of the teacher's training, with other parameters, on a paid machine."""
    local = replace(flow, steps=tuple(replace(step, executor="local", executor_params=None) for step in flow.steps[:1]))
    (record,) = run_flow(local).values()
    merged = {**record.environment, **environment}
    open_for_flow(flow).amend(replace(record, executor=flow.steps[0].executor, seconds=seconds, environment=merged))


def keep_record(flow: Flow, **changes: Any) -> None:
    """Commit a record of another result of the teacher, on a large paid machine."""
    record = build_record("train:teacher", executor="paid", environment={"instance_type": "large"}, **changes)
    store = open_for_flow(flow)
    _, output = store.begin(replace(flow.steps[0], digest=record.digest))
    store.commit(output, record)


def seconds_of(flow: Flow, registry: Registry) -> float | None:
    return budget.estimate(flow.steps[0], registry, open_for_flow(flow)).seconds


def test_the_latest_of_several_runs_counts(flow_of, registry):
    flow = flow_of()
    keep_record(flow, digest="a" * 16, finished="2026-01-02", seconds=2.0)
    keep_record(flow, digest="b" * 16, finished="2026-01-03", seconds=3.0)
    keep_record(flow, digest="c" * 16, finished="2026-01-01", seconds=9.0)
    assert seconds_of(flow, registry) == 3.0


def test_only_runs_on_the_same_executor_and_machine_count(flow_of, registry):
    keep_record(flow_of(), seconds=2.0)
    assert seconds_of(flow_of(), registry) == 2.0
    assert seconds_of(flow_of(on="other"), registry) is None
    assert seconds_of(flow_of(Machine("small")), registry) is None


def test_only_runs_of_the_same_model_and_stage_count(flow_of, registry):
    flow = flow_of()
    keep_record(flow, seconds=2.0)
    assert [step.name for step in flow.steps] == ["train:teacher", "distill:student"]
    assert budget.estimate(flow.steps[1], registry, open_for_flow(flow)).seconds is None


@pytest.mark.parametrize(
    ("occupied", "seconds"),
    [(200, 200.0), (0.5, 0.5), (0, 5.0), (-1, 5.0), (float("inf"), 5.0), (None, 5.0), ("200", 5.0)],
)
def test_the_seconds_of_a_job_count_where_they_are_a_duration(occupied, seconds):
    environment = {} if occupied is None else {"job_seconds": occupied}
    assert budget._seconds_of(build_record(seconds=5.0, environment=environment)) == seconds


def test_an_executor_without_a_price_is_not_billed(flow_of, registry):
    flow = flow_of(on="local")
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)) == Estimate(None, None, None, billed=False)


def test_a_cost_that_is_known_counts_before_the_limit():
    assert (
        Estimate(1.0, 0.0, 60.0, billed=True).budgeted_usd,
        Estimate(1.0, None, 60.0, billed=True).budgeted_usd,
    ) == (
        0.0,
        60.0,
    )
    assert Estimate(1.0, 0.0, 60.0, billed=True).basis == "as in the last run"
    assert Estimate(1.0, None, 60.0, billed=True).basis == "if it uses its whole time limit"


def test_each_fault_names_the_amounts_their_basis_and_what_to_do():
    costs = {"train:a": Estimate(5.0, 1500.0, None, billed=True), "train:b": Estimate(None, None, 60.0, billed=True)}
    with pytest.raises(ConfigError) as error:
        budget.require(Budget(task=100, run=1000), costs, "this run")
    advice = "Raise the budget, shorten the executor's time limit, or use a cheaper machine; nothing was started."
    assert [(fault.path, fault.message) for fault in error.value.faults] == [
        (
            "project.budget_usd.task",
            f"train:a may cost $1,500.00 (as in the last run), above the budget of $100.00. {advice}",
        ),
        (
            "project.budget_usd.run",
            "this run may cost $1,560.00, above the budget of $1,000.00: train:a $1,500.00 (as in the last run), "
            f"train:b $60.00 (if it uses its whole time limit). {advice}",
        ),
    ]


def test_unknown_and_known_costs_are_both_reported():
    costs = {"train:a": Estimate(None, None, None, billed=True), "train:b": Estimate(None, 2.0, None, billed=True)}
    with pytest.raises(ConfigError) as error:
        budget.require(Budget(task=1), costs, "this run")
    assert [fault.path for fault in error.value.faults] == ["train:a", "project.budget_usd.task"]


def test_maximum_costs_are_checked_against_the_budget():
    budget.require_at_most(Budget(), {"job": None}, "this sweep")
    budget.require_at_most(Budget(run=60, task=60), {"job": 60.0}, "this sweep")
    with pytest.raises(ConfigError, match=r"this sweep may cost \$61\.00, above .*if it uses its whole time limit"):
        budget.require_at_most(Budget(run=60), {"job": 61.0}, "this sweep")
    with pytest.raises(ConfigError, match="job: its cost on this type of machine is unknown"):
        budget.require_at_most(Budget(run=60), {"job": None}, "this sweep")


def test_without_a_budget_no_record_is_read(flow_of, registry, monkeypatch):
    monkeypatch.setattr(budget, "estimate", lambda *_: pytest.fail("nothing is to be held against a budget"))
    check(flow_of(), registry)


def test_estimate_without_a_record_is_the_time_limit(flow_of, registry):
    flow = flow_of()
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)) == Estimate(None, None, 60.0, billed=True)
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)).budgeted_usd == 60.0


def test_estimate_uses_the_last_run_on_the_same_machine(flow_of, registry):
    flow = flow_of()
    add_earlier_run(flow, 5.0, instance_type="large")
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)) == Estimate(5.0, 5.0, 60.0, billed=True)
    small = flow_of(Machine("small"))
    assert budget.estimate(small.steps[0], registry, open_for_flow(small)).seconds is None


def test_estimate_prefers_recorded_job_seconds(flow_of, registry):
    flow = flow_of()
    add_earlier_run(flow, 5.0, instance_type="large", job_seconds=200)
    assert budget.estimate(flow.steps[0], registry, open_for_flow(flow)).usd == 200.0


def test_estimate_of_a_remote_executor_reads_shared_records(flow_of, registry, tmp_path):
    (tmp_path / "bucket").mkdir()
    flow = flow_of(remote_store=RemoteStore(Folder(tmp_path / "bucket").uri))
    add_earlier_run(flow, 5.0, instance_type="large")
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
def test_budget_limits_each_task_and_the_run(flow_of, registry, allowed, faults):
    flow = flow_of(budget=allowed)
    if not faults:
        check(flow, registry)
        return
    with pytest.raises(ConfigError) as error:
        check(flow, registry)
    assert [fault.path for fault in error.value.faults] == faults
    assert "(if it uses its whole time limit)" in str(error.value)
    assert "nothing was started" in str(error.value)
    assert error.value.exit_code == 2


def test_unknown_cost_is_refused_when_there_is_a_budget(flow_of, registry):
    for flow in (
        flow_of(Machine(priced=False), budget=Budget(run=1e9)),
        flow_of(on="endless", budget=Budget(task=1e9)),
    ):
        with pytest.raises(ConfigError, match="its cost on this type of machine is unknown"):
            check(flow, registry)
    check(flow_of(Machine(priced=False)), registry)


@pytest.mark.parametrize("allowed", [Budget(task=0), Budget(run=0)])
def test_a_budget_of_zero_stops_every_paid_task(flow_of, registry, allowed):
    with pytest.raises(ConfigError, match=r"above the budget of \$0\.00"):
        check(flow_of(budget=allowed), registry)


def test_budget_of_zero_allows_free_and_unbilled_tasks(flow_of, registry):
    check(flow_of(on="local", budget=Budget(task=0, run=0)), registry)
    check(flow_of(on="free", budget=Budget(task=0, run=0)), registry)


def test_a_run_above_its_budget_starts_nothing(flow_of, registry, tmp_path):
    with pytest.raises(ConfigError):
        run(flow_of(budget=Budget(run=1)), registry)
    assert not (tmp_path / "store").exists()


def test_reused_results_cost_nothing(flow_of, registry):
    flow = flow_of(on="paid")
    run(flow, registry)
    run(replace(flow, budget=Budget(run=0)), registry)
    with pytest.raises(ConfigError, match="above the budget"):
        run(replace(flow, budget=Budget(run=0), force=frozenset({"teacher"})), registry)


def test_plan_shows_estimated_costs(flow_of, registry):
    flow = flow_of()
    text = tables.plan(flow, engine.plan(flow, runner.now()), registry)
    assert text.count("up to $60.00") == 2
    assert "at most $120.00" in text
    add_earlier_run(flow, 5.0, instance_type="large")
    other = replace(flow, steps=(replace(flow.steps[0], digest="0" * 16), flow.steps[1]))
    assert "$5.00" in tables.plan(other, engine.plan(other, runner.now()), registry)
