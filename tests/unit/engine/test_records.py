"""Build records of finished tasks, write their logs, and refuse results whose inputs changed."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow import Input, PokeflowError, Record, Result, Task
from pokeflow.digest import content
from pokeflow.engine import _records
from pokeflow.store._local import Store
from pokeflow_testkit.records import build_record
from pokeflow_testkit.support import TOY_MODELS, build_flow, run_flow


def test_moments_sort_as_text():
    moments = [_records.now() for _ in range(20)]
    assert moments == sorted(moments)
    assert moments[0].endswith("+00:00")


def test_log_file_holds_messages_and_the_final_error(tmp_path: Path):
    log, file = logging.getLogger("pokeflow.test"), tmp_path / "log.txt"
    handlers = list(logging.getLogger().handlers)
    with _records.log_file(file):
        log.warning("said")
    with pytest.raises(ZeroDivisionError), _records.log_file(file):
        raise ZeroDivisionError("told")
    log.warning("afterwards")
    text = file.read_text()
    assert "WARNING pokeflow.test: said" in text
    assert "ZeroDivisionError: told" in text
    assert "afterwards" not in text
    assert logging.getLogger().handlers == handlers


def test_record_lists_files_and_why_the_price_is_unknown(tmp_path: Path):
    flow = build_flow(tmp_path / "store", TOY_MODELS)
    step, output = flow.step("train:teacher"), tmp_path / "output"
    output.mkdir()
    (output / "model.txt").write_text("x")
    task = step.task((), tmp_path, output)
    details = {"executor": "there", "started": _records.now(), "seconds": 2.0}
    record = _records.build_record(task, step.backend, Result({"score": 1}), **details, price=None, why="nobody knows")
    assert (record.metrics, record.cost_usd, record.reasons) == ({"score": 1.0}, None, {"cost_usd": "nobody knows"})
    assert [file.path for file in record.files] == ["model.txt"]
    assert _records.build_record(task, step.backend, Result(), **details, price=0.5, why="").cost_usd == 0.5


def test_a_result_whose_inputs_were_replaced_or_lost_is_refused(tmp_path: Path):
    flow = build_flow(tmp_path / "store", TOY_MODELS, only=["student"], stages=["distill"])
    records = run_flow(flow)
    store, step = Store(flow.root), flow.step("distill:student")
    needed = Input(records["train:teacher"], store.folder(records["train:teacher"]))
    task = step.task((needed,), tmp_path, tmp_path)
    _records.require_unchanged(store, task, step.backend)
    with pytest.raises(PokeflowError, match="was replaced by another run"):
        _records.require_same(store, replace(needed, record=replace(needed.record, content="other")))
    with pytest.raises(PokeflowError, match="a file that its parameters name changed"):
        _records.require_unchanged(store, task, replace(step.backend, fingerprint=lambda _: "new"))
    (needed.folder / "model.txt").unlink()
    with pytest.raises(PokeflowError, match="is damaged or missing"):
        _records.require_unchanged(store, task, step.backend)


def test_a_record_names_the_step_its_backend_and_its_machine(tmp_path: Path):
    flow = build_flow(tmp_path / "store", TOY_MODELS)
    step, result = flow.step("train:teacher"), Result({"score": 1, "speed": None}, {"kind": "x"}, {"speed": "no clock"})
    inputs = (Input(build_record("prepare:data", content="c1"), tmp_path),)
    task, started = step.task(inputs, tmp_path, tmp_path), _records.now()
    record = _records.build_record(
        task, step.backend, result, executor="there", started=started, seconds=2.0, price=0.0, why="unused"
    )
    assert (record.task, record.stage, record.model, record.version) == ("train:teacher", "train", "teacher", "v1.0")
    assert (record.type, record.digest, record.backend, record.revision) == ("teacher", step.digest, "toy", "1")
    assert (record.metrics, record.facts) == ({"score": 1.0, "speed": None}, {"kind": "x"})
    assert (record.reasons, record.cost_usd) == ({"speed": "no clock"}, 0.0)
    assert (record.inputs, record.executor, record.seconds) == ({"prepare:data": "c1"}, "there", 2.0)
    assert (record.started, record.params["lr"]) == (started, 0.1)
    assert "note" not in record.params
    assert started <= record.finished <= _records.now()
    assert record.environment["python"]
    assert record.content == content(record.files)


@pytest.mark.parametrize(("simulated", "fact"), [([], None), ([False], None), ([True], True), ([False, True], True)])
def test_a_result_of_a_simulated_input_is_simulated(tmp_path: Path, simulated: list[bool], fact: bool | None):
    step = build_flow(tmp_path / "store", TOY_MODELS).step("train:teacher")
    records = [build_record(f"train:m{i}", facts={"simulated": True} if it else {}) for i, it in enumerate(simulated)]
    task = step.task(tuple(Input(record, tmp_path) for record in records), tmp_path, tmp_path)
    details = {"executor": "there", "started": "2026", "seconds": 2.0, "price": None, "why": "nobody knows"}
    assert _records.build_record(task, step.backend, Result(), **details).facts.get("simulated") is fact


def test_only_real_results_are_registered(tmp_path: Path):
    flow = build_flow(tmp_path / "store", TOY_MODELS)
    real, double = build_record("train:a"), build_record("train:b", facts={"simulated": True})

    def task(name: str, *records: Record) -> Task:
        return flow.step(name).task(tuple(Input(record, tmp_path) for record in records), tmp_path, tmp_path)

    _records.require_real(task("register:teacher", real))
    _records.require_real(task("benchmark:teacher", double))
    with pytest.raises(PokeflowError, match=r"^train:b was produced by a simulator and cannot be registered"):
        _records.require_real(task("register:teacher", real, double, double))


def test_each_simulated_record_is_named_once():
    double = build_record("train:b", facts={"simulated": True})
    _records.refuse_simulated([build_record()], "published")
    with pytest.raises(PokeflowError, match=r"^train:b, train:c was produced by a simulator and cannot be published"):
        _records.refuse_simulated([double, build_record("train:c", facts={"simulated": True}), double], "published")
