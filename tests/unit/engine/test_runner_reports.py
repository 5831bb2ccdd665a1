"""Report which tasks of a run failed, wait or finished, to the user, to plugins and to tracking."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Executor, NoParams, Result, Task, UnavailableError, engine, hookimpl, plugins
from pokeflow.engine import _runner as runner
from pokeflow.errors import EXIT_UNAVAILABLE, TaskError
from pokeflow.flow import Flow, Service
from pokeflow.store._local import Store
from pokeflow.types import Backend, Record, RemoteStore
from pokeflow_testkit.records import build_record
from pokeflow_testkit.support import TOY_MODELS, ToyModel, build_flow

TWO = {
    "a": ToyModel("teacher", "train"),
    "b": ToyModel("student", "distill", ("a",)),
    "c": ToyModel("teacher", "train"),
}
"""``b`` needs ``a``; ``c`` needs neither, and its benchmark comes after ``b`` in the order of steps."""


def run(flow: Flow, *observers: object, **executors: Executor) -> engine.RunResult:
    pm = plugins.manager()
    for observer in observers:
        pm.register(observer)
    base, since = plugins.registry(pm), engine.now()
    registry = replace(base, executors={**base.executors, **executors})
    try:
        return engine.run(flow, registry, pm.hook, since, engine.plan(flow, since))
    finally:
        for observer in observers:
            pm.unregister(observer)


@pytest.fixture
def flow_of(tmp_path: Path) -> Callable[..., Flow]:
    def make(models: dict[str, ToyModel] = TOY_MODELS, **changes: Any) -> Flow:
        return build_flow(tmp_path / "store", models, **changes)

    return make


def replace_backend(flow: Flow, name: str, body: Callable[[Task], Any]) -> Flow:
    """Return the flow with another function as the backend of one step."""
    steps = (replace(s, backend=replace(s.backend, run=body)) if s.name == name else s for s in flow.steps)
    return replace(flow, steps=tuple(steps))


def test_descendants_of_a_failed_task_are_listed_as_not_run(flow_of, caplog) -> None:
    flow = flow_of({**TWO, "a": TWO["a"].changed(fail=True)})
    with pytest.raises(TaskError) as error:
        run(flow)
    assert error.value.exit_code == 1
    assert set(error.value.ran) == {"train:c", "benchmark:c", "register:c"}
    waiting = {"benchmark:a", "register:a", "distill:b", "benchmark:b", "register:b"}
    line = next(line for line in str(error.value).splitlines() if line.startswith("Not run: "))
    assert line.endswith(" (a task that they need did not finish).")
    assert set(line.removeprefix("Not run: ").partition(" (")[0].split(", ")) == waiting
    assert "train:a: failed" in caplog.messages


def test_a_last_task_that_fails_holds_up_nothing(flow_of) -> None:
    flow = flow_of(TOY_MODELS, only=["teacher"], stages=["train"])
    with pytest.raises(TaskError) as error:
        run(replace_backend(flow, "train:teacher", lambda task: None))
    assert "Not run" not in str(error.value)


def test_unavailable_task_waits_and_names_its_prepared_files(flow_of, tmp_path, caplog) -> None:
    flow = flow_of({**TWO, "a": TWO["a"].changed(absent=True)})
    with pytest.raises(TaskError) as error:
        run(flow)
    assert error.value.exit_code == EXIT_UNAVAILABLE
    output = Store(flow.root).work(flow.step("train:a")) / "output"
    assert str(error.value).startswith(
        f"train:a unavailable: no compiler here. Install the toy compiler 2.0.\n  files prepared for it: {output}\n"
    )
    assert "train:a: unavailable" in caplog.messages


def test_empty_output_of_unavailable_task_is_not_mentioned(flow_of) -> None:
    def lack(task: Task) -> Result:
        raise UnavailableError("no compiler here.")

    def lack_and_tidy(task: Task) -> Result:
        task.output.rmdir()
        raise UnavailableError("no compiler here.")

    for body in (lack, lack_and_tidy):
        with pytest.raises(TaskError) as error:
            run(replace_backend(flow_of(only=["teacher"], stages=["train"]), "train:teacher", body))
        assert "no compiler here." in str(error.value)
        assert "prepared" not in str(error.value)


def test_exit_code_of_a_failure_outranks_an_unavailable_task(flow_of) -> None:
    flow = flow_of({**TWO, "a": TWO["a"].changed(absent=True), "c": TWO["c"].changed(fail=True)})
    with pytest.raises(TaskError) as error:
        run(flow)
    assert error.value.exit_code == 1
    assert "train:a unavailable" in str(error.value)


def test_a_failure_names_a_log_only_where_there_is_one(tmp_path) -> None:
    store, step = Store(tmp_path), build_flow(tmp_path, TOY_MODELS).step("train:teacher")
    assert runner._failure(store, step, ValueError("x")) == "train:teacher failed: ValueError: x"
    for folder in (store.folder(step), store.work(step)):
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("")
        expected = f"train:teacher failed: ValueError: x\n  log: {folder / 'log.txt'}"
        assert runner._failure(store, step, ValueError("x")) == expected


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            build_record(metrics={"a": 1.23456, "b": None, "c": 2.0, "d": 3.0, "e": 4.0, "f": 5.0}),
            "(a 1.235, c 2, d 3, e 4)",
        ),
        (build_record(metrics={"a": None}), ""),
        (build_record("prepare:data", metrics={"cards": 9.0}), ""),
        (build_record(metrics={"a": 1.0}, facts={"simulated": True}), "(simulated)"),
    ],
)
def test_finished_task_is_logged_with_its_first_four_figures(record: Record, text: str) -> None:
    assert runner._brief(record) == text


def test_the_log_says_what_begins_why_and_how_it_ended(flow_of, caplog) -> None:
    caplog.set_level(logging.INFO, "pokeflow")
    run(flow_of(only=["teacher"], stages=["train"]))
    lines = [message for message in caplog.messages if message.startswith("train:teacher")]
    assert lines[0] == "train:teacher: toy on local (no result yet)"
    assert lines[-1].endswith(" s (score 0.1)")


class Observer:
    """A plugin that records the tasks reported to it."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    @hookimpl
    def pokeflow_task_finished(self, record: Record) -> None:
        self.tasks.append(record.task)


def test_plugins_are_not_notified_of_reused_or_simulated_tasks(flow_of) -> None:
    observer = Observer()
    run(flow_of({"a": TWO["a"]}, then={}), observer)
    assert observer.tasks == ["train:a"]
    run(flow_of({"a": TWO["a"]}, then={}), observer)
    assert observer.tasks == ["train:a"]
    run(flow_of({"a": TWO["a"].changed(simulated=True)}, then={}), observer)
    assert observer.tasks == ["train:a"]


def test_pending_tracking_is_sent_before_the_first_task(flow_of) -> None:
    tracked: list[str] = []
    away = [True]

    def track(task: Task) -> Result:
        if away[0]:
            raise ConnectionError("no answer")
        tracked.append(task.inputs[0].record.task)
        return Result()

    service = Service(Backend("spy", "track", track, NoParams), NoParams())
    run(flow_of(only=["teacher"], stages=["train"], tracking=service))
    away[0] = False

    def kill(task: Task) -> Result:
        raise KeyboardInterrupt

    flow = replace_backend(flow_of(only=["student"], stages=["distill"], tracking=service), "distill:student", kill)
    with pytest.raises(KeyboardInterrupt):
        run(flow)
    assert tracked == ["train:teacher"]


def test_backend_receives_the_bucket_and_a_run_note(flow_of, tmp_path) -> None:
    seen: list[Any] = []

    def look(task: Task) -> Result:
        seen.extend((task.remote_store, (task.work / "telemetry" / "run.yaml").is_file()))
        (task.output / "model.txt").write_text("x")
        return Result({"score": 1})

    shared = RemoteStore((tmp_path / "bucket").as_uri())
    flow = replace_backend(flow_of(only=["teacher"], stages=["train"], remote_store=shared), "train:teacher", look)
    record = run(flow).records["train:teacher"]
    assert seen == [shared, True]
    assert 0 < record.seconds < 60


def test_a_simulated_model_is_not_registered_here(flow_of) -> None:
    registered: list[str] = []

    def register(task: Task) -> Result:
        registered.append(task.name)
        return Result()

    flow = replace_backend(flow_of({"a": TWO["a"].changed(simulated=True)}), "register:a", register)
    with pytest.raises(TaskError, match="cannot be registered"):
        run(flow)
    assert registered == []


def test_an_executor_that_returns_nothing_is_named(flow_of) -> None:
    flow = flow_of(only=["teacher"], stages=["train"], on="silent")
    with pytest.raises(TaskError, match=r"executor 'silent' returned NoneType; expected a Result"):
        run(flow, silent=Executor("silent", lambda *_: None, NoParams))


def test_results_of_another_process_are_not_repeated(flow_of) -> None:
    flow = flow_of(only=["teacher"], stages=["train"])
    planned = tuple(engine.plan(flow, engine.now()))
    records = run(flow).records
    pm = plugins.manager()
    again = engine.run(flow, plugins.registry(pm), pm.hook, engine.now(), planned)
    assert (again.records, again.ran) == (records, ())
