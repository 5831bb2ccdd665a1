"""Test the inventory and ls: files, their makers and gaps, and short listings of many files."""

import json
from pathlib import Path

import pytest

from pokeflow import text as words
from pokeflow.cli import dispatch
from pokeflow.errors import ConfigError
from pokeflow.objects._folder import Folder
from pokeflow.project import inventory
from pokeflow.project.receipts import PublishedFile, Receipt
from pokeflow.project.tree import Tree
from pokeflow.text import table
from pokeflow.types import LayoutEntry
from pokeflow_browse import configured, listing
from pokeflow_testkit.handmade import WRITTEN, empty, lay, published, settle, where, write_receipt
from pokeflow_testkit.support import unicode_names

# Expected drawings, wider than a line of code may be.
GOLDEN = {
    "data": """\
path                     size   version  written           from
data/                    438 B           2026-01-11 20:00  2 files, 1 gap
├── processed/link.json  188 B           2026-01-11 20:00  → tasks/prepare/data/5b260594ee7b6b9a/ (279 B, 2 files)
├── raw/link.json                                          gap: would come from prepare:data
└── reference/link.json  250 B           2026-01-11 20:00  → tasks/prepare/data/5b260594ee7b6b9a/references.npy (256 B, 1 file)
""",  # noqa: E501
    "models": """\
path                                           size      version  written           from
models/                                        14.20 kB           2026-01-11 20:00  5 files, 1 gap
├── dinov3-teacher/                            7.00 kB            2026-01-11 20:00  2 files, 1 gap
│   ├── training_config.json                   3 B       v1.0     2026-01-11 20:00  train:dinov3-teacher/training_config.json
│   └── v1.0/                                  7.00 kB            2026-01-11 20:00  1 file, 1 gap
│       ├── model.tar.gz                                                            gap: would come from bundle:dinov3-teacher
│       └── onnx/dinov3_teacher.onnx           7.00 kB   v1.0     2026-01-11 20:00  train:dinov3-teacher/dinov3_teacher.onnx
├── efficientnet-hailo/v2.1/student.hef        1.20 kB   v2.1     2026-01-11 20:00  compile:efficientnet-hailo-optimized/student.hef
└── efficientnet-student/                      6.00 kB            2026-01-11 20:00  2 files
    ├── stage1/v1.0/student_stage1.onnx        3.00 kB   v1.0     2026-01-11 20:00  distill:efficientnet-student-stage1/student_stage1.onnx
    └── stage2/v2.0/student_stage2_final.onnx  3.00 kB   v2.0     2026-01-11 20:00  distill:efficientnet-student-stage2/student_stage2_final.onnx
""",  # noqa: E501
    "profiling": """\
path                 size  version  written           from
profiling/           2 B            2026-01-11 20:00  1 file
└── student_stage1/  2 B            2026-01-11 20:00  1 file
    └── trace.json   2 B   v1.0     2026-01-11 20:00  distill:efficientnet-student-stage1/trace.json
""",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return published(tmp_path)


@pytest.fixture
def configured_tree(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Return the tree, configured for the commands."""
    monkeypatch.setattr(configured, "tree", lambda overrides: tree)
    return tree


def test_each_leaf_exists_or_is_a_gap_with_its_maker(tree: Tree) -> None:
    contents = inventory.scan(tree)
    assert {state.leaf.path: state.leaf.maker for state in contents.gaps} == {
        "data/raw/link.json": "prepare:data",
        "analytics/reports/training_summary.pdf": "report:project",
        "models/dinov3-teacher/v1.0/model.tar.gz": "bundle:dinov3-teacher",
    }
    onnx = next(state for state in contents.states if state.leaf.path.endswith("dinov3_teacher.onnx"))
    assert (onnx.files, onnx.size, onnx.versions, onnx.newest) == (1, 7000, ("v1.0",), WRITTEN)
    assert contents.orphans == ()


def test_empty_tree_has_only_gaps(tmp_path: Path) -> None:
    contents = inventory.scan(empty(tmp_path))
    assert len(contents.gaps) == len(contents.states)
    assert listing.build_tree(contents).gaps == len(contents.states)


def test_unaccounted_files_are_orphans_but_stage_files_are_not(tree: Tree) -> None:
    lay(tree, "models/dinov3-teacher/v1.0/onnx/copy of dinov3_teacher.onnx", b"?")
    lay(tree, "models/dinov3-teacher/v1.0/model.tar.gz", b"written, and then the publisher was killed")
    lay(tree, "experiments/mlflow/toy/run_2/metrics/loss", b"1")
    assert [item.path for item in inventory.scan(tree).orphans] == [
        "models/dinov3-teacher/v1.0/model.tar.gz",
        "models/dinov3-teacher/v1.0/onnx/copy of dinov3_teacher.onnx",
    ]


def test_newest_receipt_of_a_file_counts(tree: Tree) -> None:
    config = "models/dinov3-teacher/training_config.json"
    older = inventory.scan(tree).receipts[1]
    assert older.model == "dinov3-teacher"
    moved = Receipt("migrations/old", (PublishedFile(config, 9, "0" * 64, "s3://old/config.json", fixed=False),))
    write_receipt(tree, moved)
    item = next(item for item in inventory.scan(tree).items if item.path == config)
    assert item.receipt == older


def test_invalid_receipts_are_reported_and_others_are_read(tree: Tree) -> None:
    where(tree, "metadata/receipts/models/dinov3-teacher/v1.0.json").write_text("{")
    hostile = Receipt("migrations/x", (PublishedFile("../../etc/passwd", 1, "0" * 64, "x", fixed=True),))
    write_receipt(tree, hostile)
    contents = inventory.scan(tree)
    assert len(contents.receipts) == 4
    assert "not a valid receipt" in contents.damaged["metadata/receipts/models/dinov3-teacher/v1.0.json"]
    assert "'../../etc/passwd' is not a valid key" in contents.damaged["metadata/receipts/migrations/x.json"]


def test_file_belongs_to_the_innermost_leaf() -> None:
    outer, inner = (
        LayoutEntry("m/v1/", "train", "train:m", file="**"),
        LayoutEntry("m/v1/benchmark/", "benchmark", "b", file="**"),
    )
    one = LayoutEntry("m/v1/benchmark/card.md", "train", "train:m", document="model_card")
    leaves = inventory.Leaves([outer, inner, one])
    assert leaves.find("m/v1/weights/a.pt") == outer
    assert leaves.find("m/v1/benchmark/a/b") == inner
    assert leaves.find("m/v1/benchmark/card.md") == one
    assert leaves.find("m/v2/a") is None
    assert leaves.find("m") is None


@pytest.mark.parametrize("path", GOLDEN)
def test_ls_prints_the_tree(path: str, tree: Tree) -> None:
    top = listing.at(listing.build_tree(inventory.scan(tree)), path)
    assert table(listing.HEAD, listing.rows(top)) + "\n" == GOLDEN[path]


def test_ls_shows_a_part_down_to_the_requested_depth(configured_tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["ls", "models", "--depth", "1"]) == 0
    shown = capsys.readouterr().out
    assert "├── dinov3-teacher/  " in shown
    assert "2 files, 1 gap, not shown" in shown
    assert "onnx" not in shown.replace("student.hef", "")
    assert dispatch(["ls", "experiments/mlflow"]) == 0
    assert "└── toy/run_1/meta.yaml" in capsys.readouterr().out


def test_ls_of_an_unknown_path_suggests_the_nearest(configured_tree: Tree) -> None:
    with pytest.raises(
        ConfigError, match=r"ls models: no file or folder 'dinov3-teachr'\. Did you mean 'dinov3-teacher'\?"
    ):
        dispatch(["ls", "models/dinov3-teachr/v1.0"])


def test_ls_lists_the_gaps(configured_tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["ls", "--gaps"]) == 0
    assert "models/dinov3-teacher/v1.0/model.tar.gz  bundle:dinov3-teacher" in capsys.readouterr().out
    assert dispatch(["ls", "data", "--gaps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gaps"] == [{"path": "data/raw/link.json", "maker": "prepare:data"}]


def test_ls_json_has_the_same_entries(configured_tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["ls", "--json"]) == 0
    entries = {entry["path"]: entry for entry in json.loads(capsys.readouterr().out)["entries"]}
    assert entries["models/dinov3-teacher/v1.0/model.tar.gz"] == {
        "path": "models/dinov3-teacher/v1.0/model.tar.gz", "kind": "gap", "maker": "bundle:dinov3-teacher",
    }  # fmt: skip
    onnx = entries["models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx"]
    assert (onnx["size"], onnx["version"], onnx["written"]) == (7000, "v1.0", "2026-01-11T20:00:00+00:00")
    assert entries["data/processed/link.json"]["link"]["files"] == 2
    assert entries["models"]["files"] == 5


def test_ls_reports_a_damaged_link(configured_tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    lay(configured_tree, "data/processed/link.json", b'{"target": "../../../etc", "relative": true}')
    assert dispatch(["ls", "data"]) == 0
    assert "link: data/processed/link.json: not a valid link ('../../../etc'" in capsys.readouterr().out


@unicode_names
def test_control_characters_in_names_are_not_printed(configured_tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    lay(configured_tree, "models/x\u202ey\u009b31m", b"1")
    settle(configured_tree)
    assert dispatch(["ls"]) == 0
    shown = capsys.readouterr().out
    assert "\u202e" not in shown
    assert "\u009b" not in shown


@pytest.mark.slow
def test_listing_of_100000_files_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pokeflow.objects._base import ObjectInfo

    tree = empty(tmp_path)
    many = [ObjectInfo(f"experiments/mlflow/run_{n:05}/metrics/loss", 10, "e", 1.0) for n in range(50_000)]
    many += [ObjectInfo(f"stray/{n:05}", 10, "e", 1.0) for n in range(50_000)]
    monkeypatch.setattr(Folder, "list", lambda self, prefix="": iter([] if prefix else many))
    contents = inventory.scan(tree)
    rows = list(listing.rows(listing.build_tree(contents)))
    assert len(rows) < 100
    assert ("    └── … 49,961 more", "499.61 kB", "", "1970-01-01 00:00", "") in rows
    runs = listing.at(listing.build_tree(contents), "experiments/mlflow")
    assert listing.fitting(runs) == listing.DEPTH
    assert len(list(listing.rows(runs))) == listing.CROWD + 1


def test_crowded_folder_is_listed_less_deep(tree: Tree) -> None:
    for run in range(30):
        for name in range(30):
            lay(tree, f"experiments/mlflow/toy/run_{run}/metrics/m{name}", b"1")
    top = listing.at(listing.build_tree(inventory.scan(tree)), "experiments/mlflow/toy")
    assert listing.fitting(top) == 1
    assert len(list(listing.rows(top, listing.fitting(top)))) <= listing.PAGE


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_999, "1.00 MB"), (24_850_000, "24.85 MB"), (None, "unknown")],
)
def test_sizes_are_written_in_decimal_units(count: int | None, text: str) -> None:
    assert words.format_size(count) == text
