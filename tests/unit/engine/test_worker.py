"""Run tasks in worker processes, which read and write JSON."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pokeflow
from pokeflow import Backend, PokeflowError, Result, Task, plugins
from pokeflow.engine import RunResult, worker
from pokeflow.engine.executors import run_in_process
from pokeflow.errors import TaskError
from pokeflow.flow import Flow
from pokeflow_testkit import TOY
from pokeflow_testkit.support import TOY_MODELS, build_flow
from pokeflow_toy import Toy


@pytest.fixture(autouse=True)
def toy_in_sight(monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOY))


def flow_of(root: Path, *, fail: bool = False, **changes: Any) -> Flow:
    return build_flow(root, {**TOY_MODELS, "student": TOY_MODELS["student"].changed(fail=fail)}, **changes)


def run(flow: Flow) -> RunResult:
    return pokeflow.run(flow)


def test_task_survives_a_round_trip_through_json(tmp_path: Path) -> None:
    report = run(flow_of(tmp_path, only=["teacher"], stages=["train"]))
    from pokeflow import Input

    parent = Input(report.records["train:teacher"], tmp_path / "folder")
    task = Task("distill", "toy", "s", "v1", "student", "d", Toy(lr=0.5), (parent,), tmp_path, tmp_path / "output")
    again, backend = worker.load(worker.dump(task), plugins.registry(plugins.manager()))
    assert again == task
    assert backend.name == "toy"


@pytest.mark.slow
def test_separate_process_gives_the_same_result(tmp_path: Path) -> None:
    here = run(flow_of(tmp_path / "a"))
    there = run(flow_of(tmp_path / "b", on="process"))
    assert {n: (r.digest, r.content, r.metrics) for n, r in here.records.items()} == {
        n: (r.digest, r.content, r.metrics) for n, r in there.records.items()
    }


def test_error_of_a_worker_process_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="distill:student failed: it was told to fail"):
        run(flow_of(tmp_path, on="process", fail=True))


def test_a_worker_that_is_killed_fails_its_task_only(tmp_path: Path, monkeypatch) -> None:
    flow = flow_of(tmp_path, on="process", only=["teacher"], stages=["train"])
    step = flow.steps[0]
    work, output = tmp_path / "w", tmp_path / "w" / "output"
    output.mkdir(parents=True)
    task = Task("train", "toy", "teacher", "v1", "teacher", "d", step.params, (), work, output)
    # Kill the worker as the kernel does when memory runs out.
    (tmp_path / "sitecustomize.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PokeflowError, match="ended by signal SIGKILL; out of memory, perhaps"):
        run_in_process(task, step.backend, None)


def test_a_mapping_of_figures_is_a_result(tmp_path: Path) -> None:
    task = Task("train", "x", "m", "v1", "teacher", "d", None, (), tmp_path, tmp_path)
    plain = Backend("x", "train", lambda task: {"score": 1}, Toy)
    assert worker.run(task, plain) == Result({"score": 1})
    with pytest.raises(PokeflowError, match="returned score = nan"):
        worker.run(task, replace(plain, run=lambda task: {"score": float("nan")}))
