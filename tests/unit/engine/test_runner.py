"""Run flows: reuse finished results, make missing ones once, and keep no partial ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Backend, Result, Task, engine, plugins
from pokeflow.errors import TaskError
from pokeflow.flow import Flow, Service
from pokeflow.store._local import Store
from pokeflow_testkit.support import TOY_MODELS, ToyModel, build_flow, toy_flow
from pokeflow_toy import Toy

ALL = (
    "train:teacher",
    "benchmark:teacher",
    "distill:student",
    "register:teacher",
    "benchmark:student",
    "compile:tiny",
    "register:student",
    "benchmark:tiny",
    "register:tiny",
)


@pytest.fixture
def flow_of(tmp_path: Path):
    """Return a function that builds the toy flow, with changes by model name."""

    def make(**changes: Any) -> Flow:
        of_models = {name: changes.pop(name, {}) for name in TOY_MODELS}
        models = {name: model.changed(**of_models[name]) for name, model in TOY_MODELS.items()}
        return build_flow(tmp_path / "store", models, **changes)

    return make


def run(flow: Flow, since: str | None = None) -> engine.RunResult:
    pm = plugins.manager()
    since = since or engine.now()
    return engine.run(flow, plugins.registry(pm), pm.hook, since, engine.plan(flow, since))


def statuses(flow: Flow) -> dict[str, str]:
    return {p.step.name: "reuse" if p.record else p.why for p in engine.plan(flow, engine.now())}


def test_run_makes_everything_once_and_then_nothing(flow_of) -> None:
    assert set(run(flow_of()).ran) == set(ALL)
    assert run(flow_of()).ran == ()
    assert set(statuses(flow_of()).values()) == {"reuse"}


def test_a_step_comes_after_all_that_it_needs(flow_of) -> None:
    ran = run(flow_of()).ran
    assert ran.index("train:teacher") < ran.index("distill:student") < ran.index("compile:tiny")
    assert ran.index("benchmark:tiny") < ran.index("register:tiny")


def test_changed_parameter_reruns_the_model_and_descendants(flow_of) -> None:
    run(flow_of())
    ran = run(flow_of(student={"lr": 0.2})).ran
    assert set(ran) == {name for name in ALL if not name.endswith(":teacher")}


def test_changed_version_reruns_only_the_registration(flow_of) -> None:
    run(flow_of())
    assert run(flow_of(student={"version": "v1.1"})).ran == ("register:student",)


def test_plan_gives_reasons_and_writes_nothing(flow_of, tmp_path: Path) -> None:
    assert statuses(flow_of())["train:teacher"] == "no result yet"
    assert statuses(flow_of())["distill:student"] == "after train:teacher"
    assert not (tmp_path / "store").exists()


def test_record_describes_its_run(flow_of, tmp_path: Path) -> None:
    report = run(flow_of())
    record, parent = report.records["distill:student"], report.records["train:teacher"]
    assert record.params["lr"] == 0.1
    assert record.inputs == {"train:teacher": parent.content}
    assert record.metrics == {"score": 0.1}
    assert record.reasons == {"cost_usd": "executor 'local' is not billed"}
    assert [f.path for f in record.files] == ["model.txt"]
    assert record.started <= record.finished
    on_disk = tmp_path / "store" / "tasks" / "distill" / "student" / record.digest
    assert json.loads((on_disk / "record.json").read_text())["digest"] == record.digest
    assert (on_disk / "log.txt").exists()


@pytest.mark.parametrize("models", ["teacher", "student"])
def test_models_select_themselves_and_their_ancestors(flow_of, models: str) -> None:
    named = {s.name for s in flow_of(only=[models]).steps}
    assert ("distill:student" in named) == (models == "student")
    assert "train:teacher" in named
    assert "benchmark:tiny" not in named


def test_stages_select_tasks_and_what_they_need(flow_of) -> None:
    assert {s.name for s in flow_of(stages=["train", "distill"]).steps} == {"train:teacher", "distill:student"}
    needed = {s.name for s in flow_of(stages=["compile"]).steps}
    assert needed == {"train:teacher", "distill:student", "compile:tiny"}


def test_force_stops_where_the_content_is_unchanged(flow_of) -> None:
    run(flow_of())
    assert set(run(flow_of(force=["teacher"])).ran) == {
        "train:teacher",
        "benchmark:teacher",
        "register:teacher",
    }


def test_force_remakes_descendants_when_the_files_differ(flow_of, tmp_path: Path) -> None:
    flow = flow_of()
    run(flow)
    step = flow.step("train:teacher")

    def other(task: Task) -> Result:
        (task.output / "model.txt").write_text("other weights")
        return Result({"score": 0.1})

    changed = replace(step, backend=replace(step.backend, run=other))
    steps = tuple(changed if s is step else s for s in flow.steps)
    forced = Flow(flow.project, steps, flow.parents, flow.root, flow.executors, force=frozenset({"teacher"}))
    assert "distill:student" in run(forced).ran
    assert run(flow).ran == ()


def test_force_within_a_sweep_is_done_once(flow_of) -> None:
    run(flow_of())
    began = engine.now()
    assert "train:teacher" in run(flow_of(force=["teacher"]), began).ran
    assert run(flow_of(force=["teacher"]), began).ran == ()


def test_failed_task_is_reported_and_blocks_only_descendants(flow_of) -> None:
    with pytest.raises(TaskError) as caught:
        run(flow_of(student={"fail": True}))
    message = str(caught.value)
    assert "distill:student failed: it was told to fail." in message
    log = Path(message.partition("log: ")[2].splitlines()[0])
    assert "it was told to fail" in log.read_text()
    assert "Resume with: pokeflow" in message
    assert set(caught.value.ran) == {"train:teacher", "benchmark:teacher", "register:teacher"}


def test_failed_task_succeeds_when_run_again(flow_of, tmp_path: Path) -> None:
    flow = flow_of()
    step = flow.step("distill:student")

    def broken(task: Task) -> Result:
        (task.output / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    failing = replace(step, backend=replace(step.backend, run=broken))
    with pytest.raises(TaskError, match="No space left on device"):
        run(
            Flow(
                flow.project,
                tuple(failing if s is step else s for s in flow.steps),
                flow.parents,
                flow.root,
                flow.executors,
            )
        )
    report = run(flow)
    assert "distill:student" in report.ran
    assert [f.path for f in report.records["distill:student"].files] == ["model.txt"]


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        ({"score": float("nan")}, r"backend 'toy' returned score = nan. Return None for it"),
        ({"score": float("inf")}, r"returned score = inf"),
        ({"score": 10**400}, r"Return None for it, and add the reason"),
        ({"score": None}, r"returned no value for score and no reason"),
        ({"score": "good"}, r"a figure is a number or None"),
        ({"score": True}, r"a figure is a number or None"),
        (None, r"backend 'toy' returned NoneType; expected a Result or a mapping of figures"),
        (Result({"score": 1}, facts={"x": object()}), r"facts that are not plain data"),
        (Result({"score": 1}, reasons={"score": 5}), r"as the reason for 'score'; expected text"),
    ],
)
def test_a_figure_is_a_number_or_unknown_with_a_reason(flow_of, returned: object, fault: str) -> None:
    flow = flow_of(only=["teacher"], stages=["train"])
    (step,) = flow.steps
    wrong = replace(step, backend=replace(step.backend, run=lambda task: returned))
    with pytest.raises(TaskError, match=fault):
        run(Flow(flow.project, (wrong,), flow.parents, flow.root, flow.executors))


def write_the_record(task: Task) -> Result:
    (task.output / "record.json").write_text("{}")
    return Result({"score": 1})


def remove_the_output(task: Task) -> Result:
    shutil.rmtree(task.output)
    return Result({"score": 1})


def leave(task: Task) -> Result:
    raise SystemExit("bye")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (write_the_record, "this name is reserved for pokeflow's own files"),
        (remove_the_output, "the backend removed its output folder"),
        (leave, r"backend 'toy' called sys.exit\('bye'\)"),
    ],
)
def test_a_forced_redo_that_fails_leaves_the_old_result(flow_of, body, fault: str) -> None:
    flow = flow_of(only=["teacher"], stages=["train"])
    run(flow)
    (step,) = flow.steps
    wrong = replace(step, backend=replace(step.backend, run=body))
    with pytest.raises(TaskError, match=fault):
        run(Flow(flow.project, (wrong,), flow.parents, flow.root, flow.executors, force=frozenset({"teacher"})))
    assert run(flow).ran == ()


def test_an_unknown_figure_keeps_its_reason(flow_of) -> None:
    report = run(flow_of(teacher={"reason": "no sensor"}, only=["teacher"]))
    record = report.records["train:teacher"]
    assert record.metrics == {"score": None}
    assert record.reasons["score"] == "no sensor"


def lose_a_file(folder: Path) -> None:
    (folder / "model.txt").unlink()


def cut_a_file(folder: Path) -> None:
    (folder / "model.txt").write_text("")


def lose_the_record(folder: Path) -> None:
    (folder / "record.json").unlink()


def cut_the_record(folder: Path) -> None:
    file = folder / "record.json"
    file.write_bytes(file.read_bytes()[:100])


def lose_the_folder(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("damage", [lose_a_file, cut_a_file, lose_the_record, cut_the_record, lose_the_folder])
def test_damaged_result_is_rebuilt(flow_of, damage) -> None:
    flow = flow_of()
    run(flow)
    damage(Store(flow.root).folder(flow.step("distill:student")))
    # The same files come out, so the results made from them stay valid.
    assert run(flow).ran == ("distill:student",)


@pytest.fixture
def tracking(tmp_path: Path):
    """Return a function that builds the toy's tracking, which adds a line to a file for each task."""
    backend = plugins.registry(plugins.manager()).backends["track", "toy"]

    def make(**params: Any) -> Service:
        return Service(backend, Toy(note=str(tmp_path / "store" / "tracked.txt"), **params))

    return make


def test_tracking_receives_what_ran_and_cannot_fail_a_run(flow_of, tracking, tmp_path: Path, caplog) -> None:
    run(flow_of(tracking=tracking()))
    assert set((tmp_path / "store" / "tracked.txt").read_text().split()) == set(ALL)
    assert run(flow_of(tracking=tracking())).ran == ()
    assert len((tmp_path / "store" / "tracked.txt").read_text().split()) == len(ALL)
    away = flow_of(tracking=tracking(fail=True), tiny={"lr": 0.5})
    assert "compile:tiny" in run(away).ran
    assert "the tracking server is away" in caplog.text
    # The next run, which makes nothing, sends what could not be sent.
    assert run(flow_of(tracking=tracking(), tiny={"lr": 0.5})).ran == ()
    tracked = (tmp_path / "store" / "tracked.txt").read_text().split()
    assert sorted(tracked[len(ALL) :]) == ["benchmark:tiny", "compile:tiny", "register:tiny"]
    assert list((tmp_path / "store" / "outbox").iterdir()) == []


def test_task_fails_if_an_input_disappears_while_it_runs(flow_of) -> None:
    flow = flow_of()
    run(flow)
    step, store = flow.step("distill:student"), Store(flow.root)

    def lose_the_input(task: Task) -> Result:
        lose_the_folder(store.folder(flow.step("train:teacher")))
        (task.output / "model.txt").write_text("made of what is gone")
        return Result({"score": 0.1})

    racing = replace(step, backend=replace(step.backend, run=lose_the_input), digest="0" * 16)
    with pytest.raises(TaskError, match=r"train:teacher is damaged or missing"):
        run(Flow(flow.project, (flow.step("train:teacher"), racing), flow.parents, flow.root, flow.executors))
    assert store.load(racing) is None


def test_digest_does_not_depend_on_the_executor(flow_of) -> None:
    here, there = flow_of(), flow_of(on="process")
    assert [s.digest for s in here.steps] == [s.digest for s in there.steps]


def test_digest_covers_only_what_decides_a_result(flow_of) -> None:
    base = flow_of().step("distill:student").digest
    different = [
        flow_of(student={"lr": 0.11}),
        flow_of(teacher={"lr": 0.11}),
        flow_of(student={"parents": ()}),
        flow_of(student={"type": "teacher"}),
        flow_of(teacher={"type": "student"}),
    ]
    assert base not in {f.step("distill:student").digest for f in different}
    same = [
        flow_of(student={"version": "v9"}),
        flow_of(force=["student"]),
        flow_of(student={"note": "elsewhere"}),  # a parameter that is not part of the digest
    ]
    assert {base} == {f.step("distill:student").digest for f in same}


def test_build_flow_equals_the_configured_flow(flow_of, tmp_path: Path) -> None:
    configured = toy_flow(tmp_path / "store", "cloud=none")
    assert flow_of().steps == configured.steps
    assert toy_flow(tmp_path / "store", "project.name=other").steps == configured.steps


def test_raised_revision_changes_the_digest(flow_of) -> None:
    from pokeflow.flow import order

    step = flow_of().step("train:teacher")
    raised = replace(step, backend=replace(step.backend, revision="2"))
    assert order({step.name: raised}, [])[0].digest != step.digest


def test_a_fingerprint_joins_the_digest() -> None:
    from pokeflow.flow import Step, order

    def digest(content: str) -> str:
        backend = Backend("x", "prepare", lambda task: {}, dict, fingerprint=lambda params: content)
        step = Step("prepare", backend, "data", "", "data", {}, (), "local")
        return order({step.name: step}, [])[0].digest

    assert digest("one") == digest("one") != digest("two")


def test_hundreds_of_models_run_and_are_reused(tmp_path: Path) -> None:
    flow = build_flow(tmp_path / "store", {f"m{i}": ToyModel("teacher", "train") for i in range(300)}, then={})
    assert len(flow.steps) == 300
    assert len(run(flow).ran) == 300
    assert run(flow).ran == ()


def test_run_uses_a_plan_computed_earlier(flow_of, monkeypatch: pytest.MonkeyPatch) -> None:
    run(flow_of(only=["teacher"]))
    flow = flow_of()
    planned = tuple(engine.plan(flow, engine.now()))
    looked: list[str] = []
    load = Store.load

    def spy(store: Store, step: Any) -> Any:
        looked.append(f"{step.stage}:{step.model}")
        return load(store, step)

    monkeypatch.setattr(Store, "load", spy)
    pm = plugins.manager()
    reported = engine.run(flow, plugins.registry(pm), pm.hook, engine.now(), planned)
    assert set(reported.records) == set(ALL)
    assert "benchmark:teacher" not in looked  # no task used it, so none had to check that it is unchanged


def test_results_of_another_process_since_the_plan_are_reused(flow_of) -> None:
    flow = flow_of()
    planned = tuple(engine.plan(flow, engine.now()))
    run(flow)
    pm = plugins.manager()
    assert engine.run(flow, plugins.registry(pm), pm.hook, engine.now(), planned).ran == ()


def test_a_decision_names_the_record_that_it_supersedes(flow_of) -> None:
    record = run(flow_of(only=["teacher"], stages=["train"])).records["train:teacher"]
    forced = flow_of(only=["teacher"], stages=["train"], force=["teacher"])
    (planned,) = engine.plan(forced, engine.now())
    assert planned.decision == engine.Decision(None, "forced", record)
