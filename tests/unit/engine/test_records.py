"""The record of what was just made, the log beside it, and what may not change meanwhile."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow import Input, PokeflowError, Result
from pokeflow.engine import _records as making
from pokeflow.store._local import Store
from pokeflow_testkit.support import TOY_MODELS, build_flow, run_flow


def test_moments_sort_as_text():
    moments = [making.now() for _ in range(20)]
    assert moments == sorted(moments)
    assert moments[0].endswith("+00:00")


def test_a_log_file_has_what_is_said_and_how_it_ended(tmp_path: Path):
    log, file = logging.getLogger("pokeflow.test"), tmp_path / "log.txt"
    handlers = list(logging.getLogger().handlers)
    with making.log_file(file):
        log.warning("said")
    with pytest.raises(ZeroDivisionError), making.log_file(file):
        raise ZeroDivisionError("told")
    log.warning("afterwards")
    text = file.read_text()
    assert "WARNING pokeflow.test: said" in text
    assert "ZeroDivisionError: told" in text
    assert "afterwards" not in text
    assert logging.getLogger().handlers == handlers


def test_a_record_tells_what_was_left_and_why_a_price_is_unknown(tmp_path: Path):
    flow = build_flow(tmp_path / "store", TOY_MODELS)
    step, output = flow.step("train:teacher"), tmp_path / "output"
    output.mkdir()
    (output / "model.txt").write_text("x")
    task = step.task((), tmp_path, output)
    told = {"on": "there", "started": making.now(), "seconds": 2.0}
    record = making.build_record(task, step.backend, Result({"score": 1}), **told, price=None, why="nobody knows")
    assert (record.metrics, record.cost_usd, record.reasons) == ({"score": 1.0}, None, {"cost_usd": "nobody knows"})
    assert [file.path for file in record.files] == ["model.txt"]
    assert making.build_record(task, step.backend, Result(), **told, price=0.5, why="").cost_usd == 0.5


def test_a_result_whose_inputs_were_replaced_or_lost_is_refused(tmp_path: Path):
    flow = build_flow(tmp_path / "store", TOY_MODELS, only=["student"], stages=["distill"])
    records = run_flow(flow)
    store, step = Store(flow.root), flow.step("distill:student")
    needed = Input(records["train:teacher"], store.folder(records["train:teacher"]))
    task = step.task((needed,), tmp_path, tmp_path)
    making.require_unchanged(store, task, step.backend)
    with pytest.raises(PokeflowError, match="was replaced by another run"):
        making.require_same(store, replace(needed, record=replace(needed.record, content="other")))
    with pytest.raises(PokeflowError, match="the content that its parameters refer to changed"):
        making.require_unchanged(store, task, replace(step.backend, fingerprint=lambda _: "new"))
    (needed.folder / "model.txt").unlink()
    with pytest.raises(PokeflowError, match="is damaged or missing"):
        making.require_unchanged(store, task, step.backend)
