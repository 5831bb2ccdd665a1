"""Check flows: the order of steps, what their digests cover, and which steps a selection needs."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pokeflow import Backend, Input, NoParams, PokeflowError
from pokeflow.flow import Flow, Step, Sweep, order, select, step_to_dict, with_digest
from pokeflow.types import RemoteStore
from pokeflow_testkit.records import build_record


@dataclass(frozen=True)
class Params:
    lr: float = 0.1
    note: str = field(default="", metadata={"digest": False})


def step(name: str, *needs: str, **changes: Any) -> Step:
    stage, _, model = name.partition(":")
    backend = Backend("toy", stage, lambda task: {}, Params)
    return replace(Step(stage, backend, model, "v1", "teacher", Params(), needs, "local", NoParams()), **changes)


def order_by_name(*steps: Step) -> dict[str, Step]:
    return {each.name: each for each in order({each.name: each for each in steps}, [])}


TRAIN, DISTILL = step("train:a"), step("distill:b", "train:a")


def with_backend(changed: Step, **changes: Any) -> Step:
    return replace(changed, backend=replace(changed.backend, **changes))


def test_steps_come_after_what_they_need() -> None:
    steps = order({each.name: each for each in (step("compile:c", "distill:b"), DISTILL, TRAIN)}, [])
    assert [each.name for each in steps] == ["train:a", "distill:b", "compile:c"]
    assert all(len(each.digest) == 16 for each in steps)


def test_parents_in_a_cycle_are_one_fault_that_names_them() -> None:
    faults: list[Any] = []
    steps = {each.name: each for each in (step("train:a", "distill:b"), DISTILL)}
    assert order(steps, faults) == ()
    (fault,) = faults
    assert fault.path == "lineage.models"
    assert fault.message in tuple(
        f"parents form a cycle: {chain}. Remove one of these parents." for chain in ("a → b → a", "b → a → b")
    )


@pytest.mark.parametrize(
    "other",
    [
        step("distill:a"),
        replace(TRAIN, type="student"),
        with_backend(TRAIN, name="other"),
        with_backend(TRAIN, revision="2"),
        replace(TRAIN, params=Params(lr=0.2)),
        with_backend(TRAIN, fingerprint=lambda params: "files"),
        with_backend(TRAIN, identity_in_digest=True),
    ],
)
def test_values_that_decide_a_result_change_its_digest(other: Step) -> None:
    assert with_digest(other, {}).digest != with_digest(TRAIN, {}).digest


@pytest.mark.parametrize(
    "other",
    [
        replace(TRAIN, model="z"),
        replace(TRAIN, version="v2"),
        replace(TRAIN, executor="elsewhere", executor_params=Params()),
        replace(TRAIN, params=Params(note="for people")),
    ],
)
def test_other_values_do_not_change_the_digest(other: Step) -> None:
    assert with_digest(other, {}).digest == with_digest(TRAIN, {}).digest


@pytest.mark.parametrize("change", [{"model": "z"}, {"version": "v2"}])
def test_identity_in_digest_covers_model_and_version(change: dict[str, str]) -> None:
    named = with_backend(TRAIN, identity_in_digest=True)
    assert with_digest(replace(named, **change), {}).digest != with_digest(named, {}).digest


@pytest.mark.parametrize("parent", [replace(TRAIN, type="student"), replace(TRAIN, params=Params(lr=0.2))])
def test_the_type_and_the_digest_of_each_need_are_in_the_digest(parent: Step) -> None:
    assert order_by_name(parent, DISTILL)["distill:b"].digest != order_by_name(TRAIN, DISTILL)["distill:b"].digest


def test_digest_covers_the_type_of_a_need() -> None:
    done = order_by_name(TRAIN)
    retyped = {"train:a": replace(done["train:a"], type="student")}
    assert with_digest(DISTILL, retyped).digest != with_digest(DISTILL, done).digest


def test_the_fingerprint_is_kept_with_the_step() -> None:
    assert with_digest(with_backend(TRAIN, fingerprint=lambda params: f"at {params.lr}"), {}).fingerprint == "at 0.1"
    assert with_digest(TRAIN, {}).fingerprint is None


def fails(params: Any) -> str:
    raise FileNotFoundError("no such folder")


def test_a_fingerprint_that_fails_names_its_backend() -> None:
    with pytest.raises(PokeflowError, match=r"the fingerprint of backend 'toy' failed: FileNotFoundError: no such f"):
        with_digest(with_backend(TRAIN, fingerprint=fails), {})


def test_parameters_that_are_no_data_name_their_step() -> None:
    with pytest.raises(PokeflowError, match=r"the digest of train:a failed: .*object"):
        with_digest(replace(TRAIN, params={"x": object()}), {})


class Recursive(dict[str, Any]):
    """A mapping that contains itself."""

    def items(self) -> Any:
        return [("self", self)]


def test_parameters_that_have_no_end_name_their_step() -> None:
    with pytest.raises(PokeflowError, match=r"the parameters of train:a failed: RecursionError"):
        with_digest(replace(TRAIN, params=Recursive()), {})


DATA = step("prepare:data")
ALL = tuple(
    order_by_name(
        DATA,
        step("train:a", "prepare:data"),
        step("benchmark:a", "train:a"),
        step("distill:b", "train:a", "prepare:data"),
        step("benchmark:b", "distill:b"),
    ).values()
)


@pytest.mark.parametrize(
    ("models", "stages", "chosen"),
    [
        (None, None, {"prepare:data", "train:a", "benchmark:a", "distill:b", "benchmark:b"}),
        (["a"], None, {"prepare:data", "train:a", "benchmark:a"}),
        (["b"], ["distill"], {"prepare:data", "train:a", "distill:b"}),
        (["b"], ["train"], set()),
        (None, ["benchmark"], {"prepare:data", "train:a", "benchmark:a", "distill:b", "benchmark:b"}),
        (["data"], None, {"prepare:data"}),
        (["data"], ["benchmark"], {"prepare:data"}),
        (None, ["prepare"], set()),
        ([], None, set()),
    ],
)
def test_selection_includes_the_needed_steps(
    models: list[str] | None, stages: list[str] | None, chosen: set[str]
) -> None:
    selected = select(ALL, models, stages)
    assert {each.name for each in selected} == chosen
    assert selected == tuple(each for each in ALL if each.name in chosen)


def test_selecting_data_without_a_step_selects_nothing() -> None:
    assert select((TRAIN,), ["data"], None) == ()
    assert [each.name for each in select((TRAIN,), ["data", "a"], None)] == ["train:a"]


def test_flow_looks_up_steps_and_producers(tmp_path: Path) -> None:
    flow = Flow("toy", ALL, {}, tmp_path)
    assert flow.step("benchmark:b").name == "benchmark:b"
    assert {model: flow.producer(model).name for model in ("data", "a", "b")} == {
        "data": "prepare:data",
        "a": "train:a",
        "b": "distill:b",
    }


def test_flow_defaults_publish_force_and_limit_nothing(tmp_path: Path) -> None:
    flow = Flow("toy", (), {}, tmp_path)
    assert (flow.publish, flow.force, flow.budget.task, flow.budget.run) == (False, frozenset(), None, None)
    assert (flow.connections, flow.tree, flow.command, flow.remote_store) == (16, "project", "pokeflow", None)


def test_flows_are_equal_by_value_and_immutable(tmp_path: Path) -> None:
    flow = Flow("toy", ALL, {}, tmp_path)
    assert flow == Flow("toy", ALL, {}, tmp_path) != replace(flow, steps=ALL[:1])
    for frozen, name in ((flow, "project"), (ALL[0], "model")):
        with pytest.raises(AttributeError):
            setattr(frozen, name, "other")


def test_trials_of_the_same_sweep_and_overrides_are_equal() -> None:
    assert Sweep("s", 1, ("lr=1",)) == Sweep("s", 1, ("lr=1",)) != Sweep("s", 2, ("lr=1",))


def test_repr_of_a_flow_omits_its_configuration(tmp_path: Path) -> None:
    text = repr(Flow("toy", ALL, {}, tmp_path, config={"token": "hunter2"}))
    assert "hunter2" not in text
    assert text.count("prepare:data") == repr(ALL).count("prepare:data"), "each step is shown once"


def test_a_step_becomes_a_task_with_all_that_the_backend_reads(tmp_path: Path) -> None:
    (done,) = order_by_name(replace(TRAIN, fingerprint=None)).values()
    done = replace(done, fingerprint="f")
    inputs, shared = (Input(build_record(), tmp_path),), RemoteStore("s3://bucket")
    task = done.task(inputs, tmp_path / "work", tmp_path / "out", remote_store=shared, replaces="2026")
    assert (task.stage, task.backend, task.model, task.version, task.type) == ("train", "toy", "a", "v1", "teacher")
    assert (task.digest, task.params, task.inputs) == (done.digest, Params(), inputs)
    assert (task.work, task.output) == (tmp_path / "work", tmp_path / "out")
    assert (task.remote_store, task.fingerprint, task.replaces) == (shared, "f", "2026")
    assert done.path == task.path == f"tasks/train/a/{done.digest}"


def test_step_converts_to_plain_data() -> None:
    data = step_to_dict(order_by_name(TRAIN, replace(DISTILL, executor="cloud", executor_params=Params()))["distill:b"])
    assert data.pop("digest")
    assert data == {
        "name": "distill:b",
        "stage": "distill",
        "model": "b",
        "version": "v1",
        "type": "teacher",
        "needs": ("train:a",),
        "fingerprint": None,
        "backend": "toy",
        "executor": "cloud",
        "params": {"lr": 0.1, "note": ""},
        "executor_params": {"lr": 0.1, "note": ""},
    }
