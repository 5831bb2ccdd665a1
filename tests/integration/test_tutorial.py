"""Follow the tutorial "a target in an hour" to the letter, and compare it with the package of this repository."""

import re
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokeflow_testkit.lines_of_code import lines_of_code
from pokeflow_testkit.newcomer import Newcomer, newcomer
from pokeflow_testkit.tutorial import blocks, follow, package_files, shows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "target-in-an-hour.md"
PACKAGE = ROOT / "tests" / "tutorial" / "pokeflow-opencv"
LINES = 60


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Newcomer, dict[str, subprocess.CompletedProcess[str]]]:
    """Follow the page from top to bottom; return the reader, and the result of each shell block."""
    reader = newcomer(tmp_path_factory.mktemp("reader"))
    return reader, follow(PAGE, reader, PACKAGE.name)


def test_blocks_of_the_page_are_the_package_s_files() -> None:
    shown = {block.file: block.text for block in blocks(PAGE) if block.file}
    kept = package_files(PACKAGE)
    assert shown.keys() >= {"pyproject.toml", "src/pokeflow_opencv/__init__.py", "src/pokeflow_opencv/network.py"}
    assert {file: text.encode() for file, text in shown.items()} == {file: kept[file] for file in shown}


def test_page_states_the_number_of_code_lines() -> None:
    count = lines_of_code(PACKAGE.rglob("*.py"))
    assert round(count, -1) == LINES
    assert f"in about {LINES} lines of code" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_following_the_page_gives_the_package(followed) -> None:
    reader, _ = followed
    assert package_files(reader.home / PACKAGE.name) == package_files(PACKAGE)


@pytest.mark.slow
def test_the_suite_passes_before_and_after(followed) -> None:
    answers = [done.stdout for text, done in followed[1].items() if "pytest" in text]
    assert len(answers) == 2
    assert all(" passed" in answer and " failed" not in answer for answer in answers)


@pytest.mark.slow
def test_removed_line_is_reported_as_the_page_shows(followed) -> None:
    reader, _ = followed
    file = reader.home / PACKAGE.name / "src" / "pokeflow_opencv" / "stages" / "compile.py"
    whole, (line,) = file.read_text(), re.findall(r"Without `(.*)` it reports", PAGE.read_text(encoding="utf-8"))
    assert f"    {line}\n" in whole
    file.write_text(whole.replace(f"    {line}\n", ""))
    try:
        answer = reader.run(
            f"pytest -p no:cacheprovider {PACKAGE.name}/tests -k preprocessing_of_the_data || true"
        ).stdout
    finally:
        file.write_text(whole)
    (shown,) = [block.text for block in blocks(PAGE) if not block.kind and "the contract: " in block.text]
    assert shows(shown, answer), answer


@pytest.mark.slow
def test_the_lineage_is_compiled_by_opencv_and_measured(followed) -> None:
    reader, answers = followed
    assert "tasks ran" in next(done.stderr for text, done in answers.items() if "stages=[compile,benchmark]" in text)
    (benchmark,) = (reader.home / "store" / "tasks" / "benchmark").glob("*/*/performance.json")
    assert '"framework": "OpenCV 5' in benchmark.read_text()


@pytest.mark.slow
def test_the_release_carries_the_very_file(followed) -> None:
    (archive,) = (followed[0].home / "release").glob("*-opencv.tar.gz")
    with tarfile.open(archive) as packed:
        carried = [
            packed.extractfile(member) for member in packed if member.name.endswith("pokeflow_opencv/network.py")
        ]
        assert [file.read() for file in carried if file] == [package_files(PACKAGE)["src/pokeflow_opencv/network.py"]]


@pytest.mark.slow
def test_compiled_model_recognizes_a_picture(followed) -> None:
    reader, _ = followed
    (data,) = (reader.home / "store" / "tasks" / "prepare").glob("*/*")
    Image.fromarray(np.load(data / "queries.npy", mmap_mode="r")[0]).save(reader.home / "photo.png")
    done = reader.run("pokeflow recognize photo.png --json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"card_id"') == 5
