"""Record what a task cost: by its executor's price at once, or by a bill that may arrive later."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Executor, PokeflowError, engine, plugins
from pokeflow.engine.executors import run_here
from pokeflow.plugins import Registry
from pokeflow.store._local import Store
from pokeflow.types import Bill, Record
from pokeflow_testkit.support import TOY_MODELS, build_flow


@dataclass(frozen=True)
class Machine:
    instance_type: str = "small"


class Biller:
    """The bills of an executor: records requests, and returns or raises ``answer``."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.answer: Bill | Exception | None = None

    def bill(self, record: Record, params: Any) -> Bill | None:
        self.requests.append((record.task, params))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def biller() -> Biller:
    return Biller()


@pytest.fixture
def registry(biller: Biller) -> Registry:
    base = plugins.registry(plugins.manager())
    executors = {
        "billed": Executor("billed", run_here, Machine, bill=biller.bill),
        "other": Executor("other", run_here, Machine, bill=biller.bill),
        "priced": Executor("priced", run_here, Machine, price=lambda params, seconds: 2 + seconds / 1e9),
        "unpriced": Executor("unpriced", run_here, Machine, price=lambda params, seconds: None),
    }
    return replace(base, executors={**base.executors, **executors})


@pytest.fixture
def record_of(tmp_path: Path, registry: Registry) -> Callable[..., Record]:
    """Return a function that runs the teacher's training on an executor, or reuses it, and returns its record."""

    def run(on: str, params: Any = Machine()) -> Record:
        flow = build_flow(tmp_path / "store", TOY_MODELS, only=["teacher"], stages=["train"])
        flow = replace(flow, steps=tuple(replace(step, executor=on, executor_params=params) for step in flow.steps))
        since = engine.now()
        run = engine.run(flow, registry, plugins.manager().hook, since, engine.plan(flow, since))
        return run.records["train:teacher"]

    return run


def on_disk(flow_root: Path, record: Record) -> Record | None:
    return Store(flow_root).load(record)


def test_an_executor_s_price_is_recorded_at_once(record_of) -> None:
    record = record_of("priced")
    assert record.cost_usd == pytest.approx(2, abs=0.001)
    assert "cost_usd" not in record.reasons


def test_unknown_price_has_a_reason(record_of) -> None:
    record = record_of("unpriced")
    assert (record.cost_usd, record.reasons["cost_usd"]) == (None, "executor 'unpriced' has no price")


def test_cost_on_an_executor_without_a_price_has_a_reason(record_of) -> None:
    assert record_of("local").reasons["cost_usd"] == "executor 'local' is not billed"


def test_a_bill_is_added_to_the_record_with_its_machine(record_of, biller, tmp_path) -> None:
    biller.answer = Bill(1.5, environment={"instance": "i-1"})
    record = record_of("billed")
    assert (record.cost_usd, record.environment["instance"]) == (1.5, "i-1")
    assert "cost_usd" not in record.reasons
    assert "python" in record.environment
    assert on_disk(tmp_path / "store", record) == record


def test_known_bill_is_not_requested_again(record_of, biller) -> None:
    biller.answer = Bill(0.0)
    record_of("billed")
    assert record_of("billed").cost_usd == 0.0
    assert len(biller.requests) == 1


def test_late_bill_is_requested_by_the_next_run(record_of, biller) -> None:
    assert record_of("billed").cost_usd is None
    biller.answer = Bill(2.0)
    record = record_of("billed")
    assert record.cost_usd == 2.0
    assert len(biller.requests) == 2


def test_unavailable_bill_is_no_failure(record_of, biller, caplog) -> None:
    biller.answer = PokeflowError("no connection")
    assert record_of("billed").cost_usd is None
    assert "train:teacher: its cost is not known yet: no connection" in caplog.text


def test_the_reason_why_a_bill_is_unknown_is_recorded_once(record_of, biller, tmp_path) -> None:
    biller.answer = Bill(None, "the job's price list is gone", {"instance": "i-1"})
    record = record_of("billed")
    assert (record.cost_usd, record.reasons["cost_usd"]) == (None, "the job's price list is gone")
    assert record.environment["instance"] == "i-1"
    file = tmp_path / "store" / record.path / "record.json"
    before = file.stat().st_mtime_ns
    assert record_of("billed") == record
    assert file.stat().st_mtime_ns == before
    biller.answer = Bill(None, "another reason")
    assert record_of("billed").reasons["cost_usd"] == "another reason"


def test_a_bill_with_a_cost_counts_whatever_reason_it_repeats(record_of, biller) -> None:
    biller.answer = Bill(None, "an estimate")
    record_of("billed")
    biller.answer = Bill(1.0, "an estimate")
    assert record_of("billed").cost_usd == 1.0


def test_a_bill_keeps_the_reasons_of_other_figures(record_of, biller, tmp_path) -> None:
    record = record_of("billed")
    Store(tmp_path / "store").amend(replace(record, reasons={**record.reasons, "score": "no labels"}))
    biller.answer = Bill(1.0)
    assert record_of("billed").reasons == {"score": "no labels"}


def test_bill_request_carries_the_executor_s_parameters(record_of, biller) -> None:
    record_of("billed", Machine("large"))
    record_of("other", Machine("huge"))
    assert biller.requests == [("train:teacher", Machine("large")), ("train:teacher", Machine())]


def test_record_of_an_uninstalled_executor_gets_no_bill(record_of, biller, registry, tmp_path) -> None:
    record = record_of("billed")
    Store(tmp_path / "store").amend(replace(record, executor="uninstalled"))
    biller.answer = Bill(1.0)
    assert record_of("billed").cost_usd is None
    assert len(biller.requests) == 1
