"""pokeflow plugins new: a target's plugin that works as it is written, and nothing written where it cannot be."""

import json
from pathlib import Path

import pytest

from lines_of_code import lines_of_code
from newcomer import Newcomer, newcomer
from pokeflow.cli.commands import plugins as command
from pokeflow.errors import ConfigError
from support import Cli, contents

MOST_LINES = 60
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
    then: {package: "${target.package}", benchmark: "${target.benchmark}"}
"""


@pytest.fixture(scope="module")
def somebody(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """Somebody who has written a skeleton and installed it."""
    made = newcomer(tmp_path_factory.mktemp("somebody"))
    for line in ("pokeflow plugins new target my_chip", "pip install -e './pokeflow-my-chip[test]'"):
        done = made.run(line)
        assert done.returncode == 0, done.stderr
    return made


def test_it_names_the_files_and_the_code_after_the_target(tmp_path: Path) -> None:
    folder = command.write("my_chip", tmp_path)
    assert folder == tmp_path / "pokeflow-my-chip"
    assert set(contents(folder)) == {
        "README.md",
        "pyproject.toml",
        "src/pokeflow_my_chip/__init__.py",
        "src/pokeflow_my_chip/conf/__init__.py",
        "src/pokeflow_my_chip/conf/target/my_chip.yaml",
        "src/pokeflow_my_chip/network.py",
        "tests/test_my_chip.py",
    }
    text = b"".join(contents(folder).values()).decode()
    assert "acme" not in text.lower()
    assert 'my_chip = "pokeflow_my_chip"' in text
    assert "class TestMyChip(TargetSuite):" in text


def test_it_is_less_than_sixty_lines_of_python(tmp_path: Path) -> None:
    assert 40 < lines_of_code(command.write("acme", tmp_path).rglob("*.py")) < MOST_LINES


def test_it_is_listed_once_it_is_installed(somebody: Newcomer) -> None:
    assert "pokeflow-my-chip 0.1.0" in somebody.run("pokeflow plugins").stdout


def test_its_target_can_be_planned(somebody: Newcomer) -> None:
    done = somebody.run("pokeflow plan target=my_chip")
    assert done.returncode == 0, done.stderr
    assert "compile:efficientnet-hailo-optimized" in done.stdout


@pytest.mark.slow
def test_its_own_tests_pass_as_written(somebody: Newcomer) -> None:
    done = somebody.run("pytest -p no:cacheprovider pokeflow-my-chip/tests")
    assert done.returncode == 0, done.stdout
    assert " failed" not in done.stdout


@pytest.mark.slow
def test_a_whole_run_trains_compiles_packages_and_measures_with_it(somebody: Newcomer) -> None:
    (somebody.home / "own" / "lineage").mkdir(parents=True)
    (somebody.home / "own" / "lineage" / "brief.yaml").write_text(LINEAGE)
    chosen = "tracking=none registry=none cloud=none data.cards=40 data.queries.calibration=32"
    done = somebody.run(f"pokeflow --config-dir own lineage=brief target=my_chip {chosen}")
    assert done.returncode == 0, done.stderr
    assert "5 of 5 tasks ran" in done.stderr
    (told,) = (somebody.home / "store" / "tasks" / "benchmark").glob("*/*/performance.json")
    assert json.loads(told.read_text())["framework"].startswith("ONNX Runtime")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Acme", "no name for a target"),
        ("2fast", "no name for a target"),
        ("my-chip", "no name for a target"),
        ("../evil", "no name for a target"),
        ("a__b", "no name for a target"),
        ("acmé", "no name for a target"),
        ("", "no name for a target"),
        ("x" * 41, "no name for a target"),
        ("on", "no name for a target"),
        ("null", "no name for a target"),
        ("cpu", "taken"),
        ("onnxruntime", "taken"),
        ("none", "taken"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_written(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        command.write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pokeflow-acme").mkdir()
    (tmp_path / "pokeflow-acme" / "mine.txt").write_text("mine")
    done = cli("plugins", "new", "target", "acme")
    assert done.returncode == 2
    assert "pokeflow-acme exists" in done.stderr
    assert contents(tmp_path) == {"pokeflow-acme/mine.txt": b"mine"}


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "pokeflow-acme").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="exists"):
        command.write("acme", tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_not_made(cli: Cli, tmp_path: Path) -> None:
    done = cli("plugins", "new", "target", "acme", "--to", "absent")
    assert done.returncode == 2
    assert "no folder absent" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_another_kind_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("plugins", "new", "teacher", "acme").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_the_listing_stays_what_it_was(cli: Cli) -> None:
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
