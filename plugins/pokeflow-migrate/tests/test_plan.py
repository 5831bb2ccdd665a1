"""Test that all faults of a plan are reported at once, before a source is read or anything is written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow.errors import ConfigError
from pokeflow_migrate import patterns
from pokeflow_migrate import plan as plans
from pokeflow_testkit.migrate_support import PLAN, old_project, run, write_plan
from pokeflow_testkit.support import TOY_FLOW, Cli


def faults(file: Path) -> str:
    with pytest.raises(ConfigError) as error:
        plans.load(file)
    return str(error.value)


COPY = {"source": "old", "match": "a", "to": "a"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"coppy": []}, "no key 'coppy'. Did you mean 'copy'?"),
    ({"copy": [{**COPY, "form": "x"}]}, "copy[0].form: no key 'form'."),
    ({"copy": [{"source": "old", "match": "a"}]}, "copy[0].to: no value."),
    ({"copy": [{**COPY, "source": "odl"}]}, "copy[0].source: no source 'odl'. Did you mean 'old'?"),
    ({"copy": [{**COPY, "to": "../x"}]}, "copy[0].to: '../x' is not a path below the project"),
    ({"copy": [{**COPY, "to": "/etc/x"}]}, "copy[0].to: '/etc/x' is not a path below the project"),
    ({"copy": [{**COPY, "to": "metadata/x.json"}]}, "metadata/ is generated from receipts"),
    ({"copy": [{**COPY, "to": "Metadata/x.json"}]}, "metadata/ is generated from receipts"),
    ({"copy": [{**COPY, "match": "a/../../b"}]}, "copy[0].match: 'a/../../b' is not a path or pattern"),
    ({"copy": [{**COPY, "match": "a/"}]}, "For a folder, end it with '/**'"),
    ({"links": {"data/x": {"source": "old", "prefix": "../x"}}}, "links.data/x.prefix: '../x' is not a folder"),
    ({"models": {"m": {"version": "v/1", "type": "teacher"}}}, "models.m.version: 'v/1' must be one part"),
    ({"models": {"m": {"version": "v1", "type": ["pupil"]}}}, "models.m.type: expected text"),
    ({"models": {"m": {"version": "v1", "type": "teacher", "parents": ["x"]}}}, "'x' is not <model>:<version>"),
    ({"models": {"m": {"version": "v1", "type": "teacher", "parents": ["m:v1"]}}}, "cannot be its own parent"),
    ({"mlflow": [{"experiments": {"1": "x"}}]}, "mlflow[0].from: no value"),
    ({"mlflow": [{"from": 1}]}, "mlflow[0].from: expected text"),
    ({"mlflow": [{"from": "x", "experimets": {}}]}, "no key 'experimets'. Did you mean 'experiments'?"),
    ({"rewrite": {"match": "**"}}, "rewrite.match: expected a list"),
    ({"rewrite": {"limit_mb": 0}}, "rewrite.limit_mb: 0 is less than 1"),
    ({"name": "../x"}, "name: '../x' is not a valid name"),
    ({"sources": {"old": {"at": "x", "regoin": "y"}}}, "sources.old.regoin: no key 'regoin'. Did you mean 'region'?"),
    ({"copy": [], "links": {}, "mlflow": []}, "nothing to do"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "fault"), WRONG)
def test_invalid_plan_is_reported(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    assert fault in faults(write_plan(tmp_path, **change))


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    message = faults(write_plan(tmp_path, copy=[{**COPY, "to": "../x"}, {**COPY, "source": "odl"}], name="a/b"))
    assert len(message.splitlines()) == 3
    assert all(line.startswith("plan.yaml: ") for line in message.splitlines())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "invalid YAML"),
        ("name: x\nname: y\n", "'name' is a duplicate key"),
        ("a: &a [1]\nb: *a\n", "aliases"),
        ("!!python/object/apply:os.system ['echo']", "invalid YAML"),
        ("", "expected a mapping"),
        ("[1, 2]", "expected a mapping"),
        ("x: \x01", "invalid YAML"),
        ("? [a, b]\n: c\n", "invalid YAML"),
        ("? {a: b}\n: c\n", "invalid YAML"),
        ("#" * (plans.LARGEST + 1), "too large for a plan"),
    ],
)
def test_file_that_is_no_plan_is_reported(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    assert fault in faults(tmp_path / "plan.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_without_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("plan", numbered=True) / "plan.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigError):
        plans.load(file)


def run_faults(root: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as error:
        run(root, **changes)
    assert not (root / "store/project").exists()
    return str(error.value)


def test_faults_shown_by_the_sources_are_reported_at_once(tmp_path: Path) -> None:
    old_project(tmp_path, data=3)
    copy = [
        {"source": "old", "match": "models/teacher_final/bset.onnx", "to": "a/b.onnx"},
        {"source": "old", "match": "models/**/*.onnx", "to": "one.onnx"},
        {"source": "old", "match": "models/student/*.onnx", "to": "analytics/"},
        {"source": "notes", "match": "teacher/*.html", "to": "analytics/stage1.onnx"},
    ]
    models = {
        "efficientnet": {"version": "v1", "type": "student", "parents": ["dinov3-teachr:v1.0"]},
        "m": {"version": "v1", "type": "student", "at": "analytics/", "metrics_from": {"source": "old", "file": "no"}},
    }
    links = {"data/raw": {"source": "old", "prefix": "data/rwa/"}}
    text = run_faults(tmp_path, copy=copy, models=models, links=links)
    for fault in (
        "copy[0].match: 'models/teacher_final/bset.onnx' matches nothing",
        "There is 'models/teacher_final/best.onnx'",
        "copy[1].to: 'models/**/*.onnx' matches 2 files, but one.onnx is a single file. End it with '/'.",
        "analytics/stage1.onnx: several sources have this target",
        "models.efficientnet: no file of the plan has a target in models/efficientnet/v1/",
        "models.efficientnet.parents[0]: no model 'dinov3-teachr'. Did you mean 'dinov3-teacher'?",
        "models.m.metrics_from: ",
        "links.data/raw: there are no files below ",
    ):
        assert fault in text


def test_optional_files_may_be_missing(tmp_path: Path) -> None:
    old_project(tmp_path, data=3)
    copy = [*PLAN["copy"], {"source": "old", "match": "no/*.x", "to": "x/", "optional": True}]
    assert any(why.startswith("no file matches") for _, why in run(tmp_path, copy=copy).left)


def test_invalid_sources_are_reported(tmp_path: Path) -> None:
    (tmp_path / "store/project/pokemon/models").mkdir(parents=True)
    (tmp_path / "store/project/pokemon/models/x").write_text("x")
    sources = {"old": "nowhere", "notes": "gs://bucket", "runs": "store/project/pokemon/models"}
    with pytest.raises(ConfigError) as error:
        run(tmp_path, sources=sources)
    text = str(error.value)
    assert "sources.old: the folder" in text
    assert "no installed plugin opens 'gs'" in text
    assert "is in the project's own tree" in text


def test_source_that_contains_the_tree_excludes_it(tmp_path: Path) -> None:
    old_project(tmp_path, data=3)
    changes: dict[str, Any] = {
        "sources": {"all": "."}, "copy": [{"source": "all", "match": "**/*.onnx", "to": "kept/"}],
        "models": {}, "links": {},
    }  # fmt: skip
    first = [row.target for row in run(tmp_path, **changes).rows]
    assert [row.target for row in run(tmp_path, **changes).rows] == first
    assert len(first) == 2


def test_invalid_plan_exits_with_2_without_a_traceback(tmp_path: Path, cli: Cli) -> None:
    write_plan(tmp_path, copy=[{**COPY, "to": "metadata/x"}])
    ran = cli("migrate", "plan.yaml", *TOY_FLOW)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    assert cli("migrate", "no.yaml", *TOY_FLOW).returncode == 2


MATCHES = [
    ("a/*.onnx", "a/x.onnx", True), ("a/*.onnx", "a/b/x.onnx", False), ("a/**", "a/b/c", True),
    ("a/**", "b/a/c", False), ("**/*.json", "x.json", True), ("**/*.json", "a/b/x.json", True),
    ("a/**/z", "a/z", True), ("a/**/z", "a/b/c/z", True), ("a/**/z", "a/bz", False), ("a?c", "abc", True),
    ("a?c", "a/c", False), ("x[0-9]", "x5", True), ("x[!0-9]", "x5", False), ("x[!0-9]", "x/", False),
    ("a+b(c).[x", "a+b(c).[x", True), ("*", "a\nb", True),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "path", "is_one"), MATCHES)
def test_wildcards_match_within_one_folder_by_default(pattern: str, path: str, is_one: bool) -> None:
    assert patterns.matches(pattern, path) is is_one


def test_part_matched_by_wildcards_is_kept_below_the_target() -> None:
    assert patterns.below("teacher/**", "teacher/a/b") == "a/b"
    assert patterns.below("a/b*/c.txt", "a/bb/c.txt") == "bb/c.txt"
    assert patterns.below("a/b.txt", "a/b.txt") == "b.txt"


def test_deeply_nested_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="nested more than 20 levels deep"):
        plans.load(tmp_path / "plan.yaml")
