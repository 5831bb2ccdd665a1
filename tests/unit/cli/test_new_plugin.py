"""Run ``pokeflow plugins new``: a plugin of each kind works as generated, and wrong requests write nothing."""

import json
from pathlib import Path

import pytest

from pokeflow.cli import _new_plugin as new_plugin
from pokeflow.errors import ConfigError
from pokeflow_testkit.lines_of_code import lines_of_code
from pokeflow_testkit.newcomer import Newcomer, newcomer
from pokeflow_testkit.plugin_form import faults_of_form
from pokeflow_testkit.support import Cli, contents

MAX_LINES = 60
LINEAGE = """\
name: brief
models:
  student:
    version: v1.0
    type: student
    stage: train
    backend: torch
    params: {network: "${model.student}", loop: {epochs: 1, views: 1}}
  compiled:
    version: v1.0
    type: optimized
    stage: compile
    backend: ${target.compile.backend}
    parents: [student]
    params: ${target.compile.params}
    post_stages: {package: "${target.package}", benchmark: "${target.benchmark}"}
"""


KINDS = {
    "target": ("compile:my_chip benchmark:my_chip", "target=my_chip", "compile:efficientnet-hailo-optimized"),
    "backend": ("train:my_trainer", "lineage=my_trainer data=none target=none", "train:small"),
    "data": ("prepare:my_data", "data=my_data", "prepare:data"),
    "executor": ("my_machine", "executor=my_machine", "train:dinov3-teacher"),
}
"""By kind: what `pokeflow plugins` lists for it, overrides that select it, and a task that is then planned."""
NAMES = {"target": "my_chip", "backend": "my_trainer", "data": "my_data", "executor": "my_machine"}


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """Generate a plugin of each kind, install them, and return their author."""
    user = newcomer(tmp_path_factory.mktemp("somebody"))
    folders = [f"./pokeflow-{name.replace('_', '-')}" for name in NAMES.values()]
    lines = [f"pokeflow plugins new {kind} {name}" for kind, name in NAMES.items()]
    for line in (*lines, "pip install " + " ".join(f"-e '{folder}[test]'" for folder in folders)):
        done = user.run(line)
        assert done.returncode == 0, done.stderr
    return user


def test_files_and_code_are_named_after_the_target(tmp_path: Path) -> None:
    folder = new_plugin.write("target", "my_chip", tmp_path)
    assert folder == tmp_path / "pokeflow-my-chip"
    assert set(contents(folder)) == {
        "README.md",
        "pyproject.toml",
        "src/pokeflow_my_chip/__init__.py",
        "src/pokeflow_my_chip/conf/__init__.py",
        "src/pokeflow_my_chip/conf/target/my_chip.yaml",
        "src/pokeflow_my_chip/network.py",
        "src/pokeflow_my_chip/params.py",
        "src/pokeflow_my_chip/py.typed",
        "src/pokeflow_my_chip/stages/__init__.py",
        "src/pokeflow_my_chip/stages/benchmark.py",
        "src/pokeflow_my_chip/stages/compile.py",
        "tests/test_my_chip.py",
    }
    text = b"".join(contents(folder).values()).decode()
    assert "acme" not in text.lower()
    assert 'my_chip = "pokeflow_my_chip"' in text
    assert "class TestMyChip(TargetSuite):" in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_form_that_every_plugin_has(kind: str, tmp_path: Path) -> None:
    folder = new_plugin.write(kind, "acme", tmp_path)
    assert faults_of_form(folder) == []


@pytest.mark.parametrize("kind", KINDS)
def test_template_has_fewer_than_sixty_lines_of_python(kind: str, tmp_path: Path) -> None:
    folder = new_plugin.write(kind, "acme", tmp_path)
    assert 20 < lines_of_code(folder.rglob("*.py") if kind == "target" else (folder / "src").rglob("*.py")) < MAX_LINES


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_installed_plugin_is_listed(kind: str, author: Newcomer) -> None:
    lines = author.run("pokeflow plugins").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(NAMES[kind])]
    assert f"pokeflow-{NAMES[kind].replace('_', '-')} 0.1.0" in line
    assert KINDS[kind][0] in line
    assert f"pokeflow_{NAMES[kind]}.conf" in line


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_options_of_the_plugin_can_be_planned(kind: str, author: Newcomer) -> None:
    _, chosen, task = KINDS[kind]
    done = author.run(f"pokeflow plan {chosen}")
    assert done.returncode == 0, done.stderr
    assert task in done.stdout


@pytest.mark.parametrize("kind", [pytest.param("target", marks=pytest.mark.slow), "backend", "data", "executor"])
def test_generated_tests_pass_unchanged(kind: str, author: Newcomer) -> None:
    done = author.run(f"pytest -p no:cacheprovider pokeflow-{NAMES[kind].replace('_', '-')}/tests")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert " failed" not in done.stdout


@pytest.mark.slow
def test_lineage_runs_with_the_generated_target(author: Newcomer) -> None:
    (author.home / "own" / "lineage").mkdir(parents=True)
    (author.home / "own" / "lineage" / "brief.yaml").write_text(LINEAGE)
    chosen = "tracking=none registry=none cloud=none data.cards=40 data.queries.calibration=32 data.photos.cards=0"
    done = author.run(f"pokeflow --config-dir own lineage=brief target=my_chip {chosen}")
    assert done.returncode == 0, done.stderr
    assert "5 of 5 tasks ran" in done.stderr
    (report,) = (author.home / "store" / "tasks" / "benchmark").glob("*/*/performance.json")
    assert json.loads(report.read_text())["framework"].startswith("ONNX Runtime")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Acme", "not a valid name for a target"),
        ("2fast", "not a valid name for a target"),
        ("my-chip", "not a valid name for a target"),
        ("../evil", "not a valid name for a target"),
        ("a__b", "not a valid name for a target"),
        ("acmé", "not a valid name for a target"),
        ("", "not a valid name for a target"),
        ("x" * 41, "not a valid name for a target"),
        ("on", "not a valid name for a target"),
        ("null", "not a valid name for a target"),
        ("cpu", "taken"),
        ("onnxruntime", "taken"),
        ("none", "taken"),
    ],
)
def test_invalid_name_is_refused_and_nothing_written(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        new_plugin.write("target", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("backend", "torch"), ("backend", "pokemon"), ("data", "folder"), ("data", "cards"), ("executor", "process")],
)
def test_name_of_an_installed_plugin_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="taken"):
        new_plugin.write(kind, name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_kind_is_refused_with_the_known_ones(cli: Cli, tmp_path: Path) -> None:
    done = cli("plugins", "new", "widget", "acme")
    assert done.returncode == 2
    assert "widget" in done.stderr
    assert "executor" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_not_overwritten(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pokeflow-acme").mkdir()
    (tmp_path / "pokeflow-acme" / "mine.txt").write_text("mine")
    done = cli("plugins", "new", "target", "acme")
    assert done.returncode == 2
    assert "pokeflow-acme exists" in done.stderr
    assert contents(tmp_path) == {"pokeflow-acme/mine.txt": b"mine"}


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "pokeflow-acme").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="exists"):
        new_plugin.write("target", "acme", tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_missing_target_folder_is_reported_and_not_created(cli: Cli, tmp_path: Path) -> None:
    done = cli("plugins", "new", "target", "acme", "--to", "absent")
    assert done.returncode == 2
    assert "folder absent does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_type_of_model_is_no_kind_of_plugin(cli: Cli, tmp_path: Path) -> None:
    assert cli("plugins", "new", "teacher", "acme").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_plugins_listing_has_the_known_columns(cli: Cli) -> None:
    done = cli("plugins")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == [
        "plugin",
        "distribution",
        "backends",
        "executors",
        "commands",
        "yaml",
    ]
    assert "toy" in done.stdout
