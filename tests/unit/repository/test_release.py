"""Run the release script: one version for every distribution, and the notes of a release."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "constraints.txt").is_file())


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """Import the script, which is in no package."""
    spec = importlib.util.spec_from_file_location("release", ROOT / ".github" / "scripts" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the files that contain a version."""
    for file in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "pokeflow/__init__.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    for file in (ROOT / "plugins").glob("*/pyproject.toml"):
        folder = tmp_path / "plugins" / file.parent.name
        folder.mkdir(parents=True)
        shutil.copy(file, folder)
    return tmp_path


def test_all_distributions_have_one_version(release: ModuleType) -> None:
    assert list(release.find_faults(ROOT)) == []


def test_a_new_version_is_written_everywhere(release: ModuleType, copy: Path) -> None:
    assert release.main(["set", "7.8.9"], copy) == 0
    assert release.read_version(copy) == "7.8.9"
    assert list(release.find_faults(copy, "v7.8.9")) == ["CHANGELOG.md: no section '## [7.8.9]'"]
    assert '"pokeflow-mlflow[predict,s3]~=7.8.9"' in (copy / "pyproject.toml").read_text()
    assert 'keywords = ["pokeflow"' in (copy / "plugins" / "pokeflow-cards" / "pyproject.toml").read_text()


def test_every_disagreement_is_reported(release: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cards = copy / "plugins" / "pokeflow-cards" / "pyproject.toml"
    text = cards.read_text().replace('dynamic = ["version"]', 'version = "3"')
    version = release.read_version(copy)
    cards.write_text(text.replace(f"pokeflow-vision~={version}", "pokeflow-vision"))
    (copy / "CITATION.cff").write_text("version: 3\n")
    assert release.main(["check", "v3.0.0"], copy) == 1
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        *("tag v3.0.0", "plugins/pokeflow-cards/pyproject.toml", "plugins/pokeflow-cards/pyproject.toml"),
        "CITATION.cff",
        "CHANGELOG.md",
    ]


def test_a_release_has_a_date(release: ModuleType, copy: Path) -> None:
    release.set_version(copy, "7.8.9")
    for date, faults in ((" - unreleased", ["CHANGELOG.md: the section of 7.8.9 has no date"]), (" - 2030-01-02", [])):
        (copy / "CHANGELOG.md").write_text(f"# Changelog\n\n## [7.8.9]{date}\n\n- A.\n")
        assert [fault.partition(",")[0] for fault in release.find_faults(copy, "v7.8.9")] == faults
        assert list(release.find_faults(copy)) == []


def test_notes_are_the_section_of_this_version(release: ModuleType, copy: Path) -> None:
    release.set_version(copy, "7.8.9")
    (copy / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n"
        "## [7.8.9] - 2030-01-02\n\n### Added\n- A.\n\n## [7.8.8] - 2030-01-01\n- B.\n"
    )
    assert release.read_notes(copy) == "### Added\n- A."


def test_names_are_those_of_all_distributions(
    release: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["names"], copy) == 0
    names = capsys.readouterr().out.split()
    assert len(names) == 1 + len(list((ROOT / "plugins").glob("*/pyproject.toml")))
    assert {"pokeflow", "pokeflow-torch", "mlflow-s3-store"} <= set(names)


@pytest.mark.parametrize("arguments", [[], ["set", "seven"], ["set"], ["bump"]])
def test_a_wrong_command_is_refused(release: ModuleType, copy: Path, arguments: list[str]) -> None:
    assert release.main(arguments, copy) == 2
    assert release.read_version(copy) != "seven"
