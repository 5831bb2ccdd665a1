"""Run, gate and publish a stage and a type of model that the core does not know."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pokeflow import engine
from pokeflow.flow import Flow
from pokeflow.gates import Gate, evaluate
from pokeflow.project import _publish as publish
from pokeflow.project import inventory
from pokeflow.project import tree as trees
from pokeflow.types import LayoutEntry, Record
from pokeflow_browse import listing
from pokeflow_testkit.support import ToyModel, build_flow, run_flow

MODELS = {
    "large": ToyModel("teacher", "train"),
    "middle": ToyModel("assistant", "distill", ("large",)),
    "pruned": ToyModel("assistant", "prune", ("middle",), "v2.0"),
}
PRUNED = "models/pruned/v2.0/"


def leaf(path: str, **source: str) -> LayoutEntry:
    return LayoutEntry(path, "prune", "prune:pruned", "pruned", "v2.0", fixed=True, **source)


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    documents = ("project_manifest", "model_lineage", "training_history")
    leaves = (
        leaf(PRUNED, file="**"),
        leaf(f"{PRUNED}metrics.json", document="metrics"),
        *(LayoutEntry(f"metadata/{name}.json", "", "publish", document=name) for name in documents),
    )
    return build_flow(tmp_path / "store", MODELS, leaves=leaves)


@pytest.fixture
def records(flow: Flow) -> dict[str, Record]:
    return dict(run_flow(flow))


def test_unknown_stage_is_planned_and_then_reused(flow: Flow) -> None:
    assert "prune:pruned" in {planned.step.name for planned in engine.plan(flow, engine.now()) if not planned.record}
    run_flow(flow)
    assert all(planned.record for planned in engine.plan(flow, engine.now()))


def test_producing_task_reads_nothing_of_its_model(records: dict[str, Record]) -> None:
    makers = {name for name, record in records.items() if record.makes_model}
    assert makers == {"train:large", "distill:middle", "prune:pruned"}
    assert {name: records[name].parents for name in makers} == {
        "train:large": (),
        "distill:middle": ("train:large",),
        "prune:pruned": ("distill:middle",),
    }
    assert records["benchmark:pruned"].parents == ()


@pytest.mark.parametrize(("stage", "model"), [("prepare", "data"), ("prepare", "other"), ("pipeline", "project")])
def test_data_and_project_tasks_make_no_model(records: dict[str, Record], stage: str, model: str) -> None:
    record = replace(records["train:large"], task=f"{stage}:{model}", stage=stage, model=model, inputs={})
    assert not record.makes_model


def test_a_data_set_is_no_parent(records: dict[str, Record]) -> None:
    record = replace(records["prune:pruned"], inputs={"prepare:data": "a", "distill:middle": "b"})
    assert record.makes_model
    assert record.parents == ("distill:middle",)


def test_a_gate_may_hold_for_the_type_alone(records: dict[str, Record]) -> None:
    gates = {"score": Gate(min=0.5, applies_to=("assistant",))}
    verdicts = evaluate(gates, records["prune:pruned"], records["benchmark:pruned"])
    assert {name: (verdict.passed, str(verdict)) for name, verdict in verdicts.items()} == {
        "score": (False, "failed: 0.1 is below 0.5")
    }
    assert evaluate(gates, records["train:large"], None) == {}


def test_unknown_stage_is_published_and_listed(flow: Flow, records: dict[str, Record]) -> None:
    publish.publish(flow, records)
    tree = flow.root / flow.tree
    assert (tree / PRUNED / "model.txt").read_text().startswith("prune ")
    history = json.loads((tree / "metadata" / "training_history.json").read_text())
    assert {run["task"] for run in history["runs"]} == {"train:large", "distill:middle", "prune:pruned"}
    manifest = json.loads((tree / "metadata" / "project_manifest.json").read_text())
    assert manifest["models"]["pruned"]["type"] == "assistant"
    assert json.loads((tree / PRUNED / "metrics.json").read_text())["digest"] == records["prune:pruned"].digest

    scanned = inventory.scan(trees.open_tree(flow))
    assert not scanned.gaps
    assert {item.path: item.origin for item in scanned.items}[f"{PRUNED}model.txt"] == "prune:pruned/model.txt"
    assert any("prune:pruned/model.txt" in row for row in listing.rows(listing.build_tree(scanned)))
