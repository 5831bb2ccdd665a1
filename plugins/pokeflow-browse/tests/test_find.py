"""Test find: models, figures and files by part of a name, pattern or digest, and suggestions without a match."""

import json
from pathlib import Path

import pytest

from pokeflow.cli import dispatch
from pokeflow.errors import PokeflowError
from pokeflow.project import inventory
from pokeflow.project.tree import Tree
from pokeflow_browse import configured
from pokeflow_browse.search import find
from pokeflow_testkit.handmade import lay, published


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    tree = published(tmp_path)
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    return tree


@pytest.mark.parametrize(
    "text", ["hailo-opt", "HAILO-OPT", "efficientnet-hailo-optimized:v2.1", "hailo-optimized v2.1"]
)
def test_find_matches_part_of_a_model_name_and_version(tree: Tree, text: str) -> None:
    hits = find(inventory.scan(tree), text)
    assert [(r.model, r.version) for r in hits.models] == [("efficientnet-hailo-optimized", "v2.1")]


def test_find_matches_the_beginning_of_a_digest(tree: Tree) -> None:
    contents = inventory.scan(tree)
    teacher = next(receipt for receipt in contents.receipts if receipt.model == "dinov3-teacher")
    assert find(contents, teacher.digest[:8]).models == (teacher,)
    assert find(contents, teacher.digest[:3]).models == ()


def test_find_lists_a_figure_per_version_with_value_or_reason(tree: Tree) -> None:
    figures = find(inventory.scan(tree), "top1").figures
    assert {(f.model, f.value) for f in figures} == {
        ("dinov3-teacher", 0.9375), ("efficientnet-student-stage1", 0.8438), ("efficientnet-hailo-optimized", 0.9688),
    }  # fmt: skip
    (power,) = find(inventory.scan(tree), "power_w").figures
    assert (power.value, power.reason) == (None, "not measured here")


@pytest.mark.parametrize("text", ["*.onnx", "*/onnx/*", "DINOV3_teacher.onnx"])
def test_find_matches_files_by_pattern_or_part_of_path(tree: Tree, text: str) -> None:
    paths = [item.path for item in find(inventory.scan(tree), text).files]
    assert "models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx" in paths


def test_find_matches_a_file_by_checksum(tree: Tree) -> None:
    contents = inventory.scan(tree)
    placed = next(item.published for item in contents.items if item.path.endswith(".hef"))
    assert placed is not None
    assert [item.path for item in find(contents, placed.sha256).files] == [placed.path]


def test_command_prints_one_table_per_kind(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["find", "stage1"]) == 0
    shown = capsys.readouterr().out
    assert "model                        version  type" in shown
    assert "\n\nfile " in shown
    assert "distill:efficientnet-student-stage1/student_stage1.onnx" in shown


def test_long_results_are_truncated_and_counted(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        lay(tree, f"experiments/mlflow/toy/run_1/metrics/m{number:02}", b"1")
    assert dispatch(["find", "run_1"]) == 0
    assert "… and 11 files more; --json has all" in capsys.readouterr().out


def test_json_output_has_the_kind_of_each_hit(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["find", "--json", "power_w"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"kind": "figure", "name": "power_w", "value": None, "model": "efficientnet-student-stage1", "version": "v1.0",
         "task": "benchmark:efficientnet-student-stage1", "reasons": {"value": "not measured here"}},
    ]  # fmt: skip
    assert dispatch(["find", "--json", "link.json"]) == 0
    assert {hit["kind"] for hit in json.loads(capsys.readouterr().out)} == {"link"}


def test_no_match_suggests_the_nearest_names(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PokeflowError, match=r"Did you mean 'dinov3-teacher'") as error:
        dispatch(["find", "dinov3-taecher"])
    assert error.value.exit_code == 1
    assert "Figures: distillation_gap, latency_p50_ms," in str(error.value)
    assert dispatch(["find", "dinov3-taecher", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []
