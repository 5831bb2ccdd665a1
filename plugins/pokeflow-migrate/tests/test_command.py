"""Test that a migration copies and verifies all planned files, writes receipts, and only reads the sources."""

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from pokeflow.errors import ConfigError
from pokeflow.project import receipts
from pokeflow.project.links import parse
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.project.tree import Tree
from pokeflow_browse.verify import verify
from pokeflow_migrate import versions
from pokeflow_migrate.plan import Model
from pokeflow_migrate.run import Outcome
from pokeflow_testkit.handmade import empty
from pokeflow_testkit.migrate_support import old_project, run, state, tree_folder, write_plan
from pokeflow_testkit.support import TOY_FLOW, Cli, contents

TEACHER = "models/dinov3-teacher/v0.9/onnx/dinov3_teacher.onnx"
DATA = 1000
"""Number of raw data files, for tests where it matters."""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return empty(tmp_path)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return old_project(tmp_path)


def done(outcome: Outcome) -> Counter[str]:
    return Counter(row.done for row in outcome.rows)


def test_all_planned_files_are_migrated_and_sources_unchanged(tmp_path: Path, old: Path, tree: Tree) -> None:
    before = state(old)
    outcome = run(tmp_path, tree)
    assert state(old) == before
    there = contents(tree_folder(tree))
    assert there[TEACHER] == (old / "training/models/teacher_final/best.onnx").read_bytes()
    assert there["profiling/teacher/sagemaker_profiler/system/cpu.json"] == b"{}"
    assert there["analytics/metrics/latency.csv"].endswith(f"{tree_folder(tree)}/{TEACHER}\n".encode())
    assert outcome.problems == []
    assert not [path for path in there if path.endswith(".txt")]
    assert verify(tree).problems == ()


def test_paths_in_metadata_are_rewritten_to_new_locations(tmp_path: Path, old: Path, tree: Tree) -> None:
    outcome = run(tmp_path, tree)
    index = json.loads((tree_folder(tree) / "analytics/metrics/index.json").read_bytes())
    assert index["teacher"] == f"{tree.objects.uri}/{TEACHER}"
    assert index["profile"] == f"see {tree_folder(tree)}/profiling/teacher/sagemaker_profiler/report.html, please"
    assert index["raw"] == f"{old}/training/data/raw/0001.txt"  # linked data are not moved
    row = next(row for row in outcome.rows if row.target == "analytics/metrics/index.json")
    assert (row.done, row.replacements) == ("rewritten", 2)
    assert row.source_sha256 == hashlib.sha256((old / "training/analytics/index.json").read_bytes()).hexdigest()
    assert row.sha256 == hashlib.sha256((tree_folder(tree) / row.target).read_bytes()).hexdigest() != row.source_sha256


def test_paths_are_relative_where_the_plan_requests_it(tmp_path: Path, old: Path, tree: Tree) -> None:
    run(tmp_path, tree, rewrite={"match": ["**/*.json"], "style": "relative"})
    index = json.loads((tree_folder(tree) / "analytics/metrics/index.json").read_bytes())
    assert index["teacher"] == TEACHER


def test_data_are_linked_not_copied(tmp_path: Path, tree: Tree) -> None:
    old = old_project(tmp_path, data=DATA)
    run(tmp_path, tree)
    link = parse((tree_folder(tree) / "data/calibration/link.json").read_bytes(), "link")
    assert link.target == f"file://{old}/training/data/raw/"
    assert (link.files, link.size) == (DATA, sum(len(str(i)) for i in range(DATA)))
    assert link.fingerprint is None
    assert link.reasons["fingerprint"]


def test_receipts_have_origins_and_documents_list_versions(tmp_path: Path, old: Path, tree: Tree) -> None:
    run(tmp_path, tree)
    known = {receipt.unit: receipt for receipt in receipts.read_all(tree.objects)}
    assert set(known) == {"migrations/old", "models/dinov3-teacher/v0.9"}
    version = known["models/dinov3-teacher/v0.9"]
    assert [(f.path, f.source, f.fixed) for f in version.files] == [
        (TEACHER, f"file://{old}/training/models/teacher_final/best.onnx", True)
    ]
    assert version.origin == f"file://{old}/training/models/teacher_final"
    assert version.facts["architecture"] == "DINOv3-ViT-L/16"
    assert version.facts["migrated"]["metrics"] == {"top1_accuracy": 0.93, "nested.loss": 0.2}
    manifest = json.loads((tree_folder(tree) / "metadata/project_manifest.json").read_bytes())
    model = manifest["models"]["dinov3-teacher"]
    assert (model["version"], model["architecture"], model["metrics"]["top1_accuracy"]) == (
        "v0.9", "DINOv3-ViT-L/16", 0.93)  # fmt: skip
    assert "migrated from" in model["reasons"]["digest"]
    lineage = json.loads((tree_folder(tree) / "metadata/model_lineage.json").read_bytes())
    assert {node["id"] for node in lineage["nodes"]} >= {"dinov3-teacher:v0.9", "migrations/old"}


@pytest.mark.parametrize("has_journal", [True, False])
def test_second_run_skips_everything_and_changes_no_byte(
    tmp_path: Path, old: Path, tree: Tree, has_journal: bool
) -> None:
    first = run(tmp_path, tree)
    journal = tmp_path / "store/migrations/old/journal.jsonl"
    if not has_journal:
        journal.unlink()
    before = state(tree_folder(tree)), journal.exists() and journal.read_bytes()
    again = run(tmp_path, tree)
    assert done(again) == {"there already": len(first.rows)}
    assert again.documents == ()
    assert state(tree_folder(tree)) == before[0]
    assert not has_journal or journal.read_bytes() == before[1]


def test_dry_run_reports_actions_and_writes_nothing(tmp_path: Path, old: Path, tree: Tree) -> None:
    before = state(old)
    would = run(tmp_path, tree, dry_run=True)
    assert not (tmp_path / "store").exists()
    assert state(old) == before
    did = done(run(tmp_path, tree))
    assert done(would) == {f"to {was}": did[had] for was, had in
                           (("copy", "copied"), ("rewrite", "rewritten"), ("link", "linked"))}  # fmt: skip


def test_different_existing_files_fail_before_any_copy(tmp_path: Path, old: Path, tree: Tree) -> None:
    tree.objects.write(TEACHER, b"somebody's own", match=None)
    tree.objects.write("analytics/metrics/index.json", b"{}", match=None)
    before = state(tree_folder(tree))
    with pytest.raises(ConfigError) as error:
        run(tmp_path, tree)
    assert {fault.path for fault in error.value.faults} == {TEACHER, "analytics/metrics/index.json"}
    assert "the file already exists with other bytes" in str(error.value)
    assert state(tree_folder(tree)) == before


def test_identical_existing_file_is_kept(tmp_path: Path, old: Path, tree: Tree) -> None:
    tree.objects.write(TEACHER, (old / "training/models/teacher_final/best.onnx").read_bytes(), match=None)
    assert done(run(tmp_path, tree))["there already"] == 1


def test_conflict_with_a_receipt_is_refused_without_its_file(tmp_path: Path, old: Path, tree: Tree) -> None:
    placed = PublishedFile(TEACHER, 3, "0" * 64, "train:dinov3-teacher/model.onnx", fixed=True)
    receipts.put(tree.objects, Receipt("exports/x", (placed,)))
    with pytest.raises(ConfigError, match="exports/x has published other bytes here"):
        run(tmp_path, tree)


def test_file_replaced_by_a_later_publication_is_kept(tmp_path: Path, old: Path, tree: Tree) -> None:
    run(tmp_path, tree)
    path = "analytics/metrics/index.json"
    tree.objects.write(path, b'{"new": 1}', match=None)
    newer = PublishedFile(path, 10, hashlib.sha256(b'{"new": 1}').hexdigest(), "report:project/index.json", fixed=False)
    receipts.put(tree.objects, Receipt("reports", (newer,)))
    again = run(tmp_path, tree)
    assert done(again)["superseded"] == 1
    assert (tree_folder(tree) / path).read_bytes() == b'{"new": 1}'


def test_grown_data_are_linked_again_and_other_links_kept(tmp_path: Path, old: Path, tree: Tree) -> None:
    run(tmp_path, tree)
    (old / "training/data/raw/more.txt").write_text("more")
    assert done(run(tmp_path, tree))["linked"] == 1
    link = parse((tree_folder(tree) / "data/calibration/link.json").read_bytes(), "link")
    assert link.files == 21
    tree.objects.write("data/raw/link.json", b"{}", match=None)
    with pytest.raises(ConfigError, match="another link exists here"):
        run(tmp_path, tree, links={"data/raw": {"source": "old", "prefix": "data/raw/"}})


def test_version_folder_is_from_the_plan_layout_or_name(tree: Tree) -> None:
    assert versions.folders("dinov3-teacher", Model("v0.9", "teacher"), tree) == ("models/dinov3-teacher/v0.9/",)
    stage1 = versions.folders("efficientnet-student-stage1", Model("v7", "student"), tree)
    assert stage1 == ("models/efficientnet-student/stage1/v7/",)
    assert versions.folders("other", Model("v7", "student"), tree) == ("models/other/v7/",)
    assert versions.folders("other", Model("v7", "student", at="x/y"), tree) == ("x/y/",)


def test_version_published_from_records_is_not_replaced(tmp_path: Path, old: Path, tree: Tree) -> None:
    receipts.put(
        tree.objects, Receipt("models/dinov3-teacher/v0.9", (), "dinov3-teacher", "v0.9", digest="d", content="c")
    )
    with pytest.raises(ConfigError, match="is already published from its records"):
        run(tmp_path, tree)


def test_parents_may_not_form_a_cycle(tmp_path: Path, old: Path, tree: Tree) -> None:
    at = "models/dinov3-teacher/v0.9"
    models = {
        "a": {"version": "v1", "type": "student", "at": at, "parents": ["b:v1"]},
        "b": {"version": "v1", "type": "student", "at": at, "parents": ["a:v1"]},
    }
    with pytest.raises(ConfigError, match="parents form a cycle: "):
        run(tmp_path, tree, models=models)
    models["b"]["parents"] = ["dinov3-teacher:v0.1"]
    run(tmp_path, tree, models=models)
    lineage = json.loads((tree_folder(tree) / "metadata/model_lineage.json").read_bytes())
    edges = {(edge["parent"], edge["child"]) for edge in lineage["edges"]}
    assert edges == {("b:v1", "a:v1"), ("dinov3-teacher:v0.1", "b:v1")}


def test_too_large_metadata_are_copied_unchanged_and_reported(tmp_path: Path, old: Path, tree: Tree) -> None:
    file = old / "training/analytics/index.json"
    file.write_text(json.dumps([f"{old}/training/models/teacher_final/best.onnx"] * 20_000))
    outcome = run(tmp_path, tree, rewrite={"match": ["**/*.json"], "limit_mb": 1})
    note = ("analytics/metrics/index.json", "larger than 1 MB: copied, paths in it not rewritten")
    assert note in outcome.left
    assert (tree_folder(tree) / note[0]).read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_command_reports_every_file(tmp_path: Path, old: Path, cli: Cli) -> None:
    write_plan(tmp_path)
    dry = cli("migrate", "plan.yaml", "--dry-run", *TOY_FLOW)
    assert dry.returncode == 0, dry.stderr
    assert "to rewrite" in dry.stdout
    assert "dry run, nothing was written" in dry.stdout
    assert not (tmp_path / "store").exists()
    ran = cli("migrate", "plan.yaml", *TOY_FLOW)
    assert ran.returncode == 0, ran.stderr
    assert "complete; 2 receipts" in ran.stdout
    folder = tmp_path / "store/migrations/old"
    rows = list(csv.DictReader((folder / "report.csv").read_text().splitlines()))
    summary = json.loads((folder / "report.json").read_bytes())
    assert sum(of["files"] for of in summary["totals"].values()) == len(rows)
    assert all(row["verified"] and row["sha256"] for row in rows if row["done"] in ("copied", "rewritten"))
    assert summary["complete"]
    report = (folder / "report.csv").read_bytes()
    again = cli("migrate", "plan.yaml", "--report", "again.csv", *TOY_FLOW)
    assert again.returncode == 0
    assert (folder / "report.csv").read_bytes() == report
    assert {row["done"] for row in csv.DictReader((tmp_path / "again.csv").read_text().splitlines())} == {
        "there already"
    }
