"""The tutorial "a target in an hour": followed to the letter it gives the package that is kept here, and that works."""

import re
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokeflow_testkit.lines_of_code import lines_of_code
from pokeflow_testkit.newcomer import Newcomer, newcomer
from pokeflow_testkit.support import contents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "target-in-an-hour.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "tests" / "tutorial" / "pokeflow-opencv"
BLOCK = re.compile(r"(?:`([\w./-]+)`[^`\n]*:\n\n)?```(\w*)\n(.*?)```", re.DOTALL)
STEPS = BLOCK.findall(PAGE)
"""(file, kind, text) of each block of code, in order."""
PROMISE = 60


def files() -> dict[str, bytes]:
    """The package's files; what an installation leaves beside them is no part of it."""
    return {path: content for path, content in contents(PACKAGE).items() if "__pycache__" not in path}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Newcomer, dict[str, subprocess.CompletedProcess[str]]]:
    """Somebody who has done what the page says from top to bottom, and what each piece of shell answered."""
    reader = newcomer(tmp_path_factory.mktemp("reader"))
    answers = {}
    for file, kind, text in STEPS:
        if kind == "sh":
            answers[text] = done = reader.run(text)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        elif file:
            place = reader.home / PACKAGE.name / file
            assert place.parent.is_dir(), f"{place.parent} is not in the skeleton"
            place.write_text(text, encoding="utf-8")
    return reader, answers


def test_its_blocks_are_the_packages_files() -> None:
    shown = {file: text for file, _, text in STEPS if file}
    assert shown.keys() >= {"pyproject.toml", "src/pokeflow_opencv/__init__.py", "src/pokeflow_opencv/network.py"}
    assert {file: text.encode() for file, text in shown.items()} == {file: files()[file] for file in shown}


def test_it_says_how_many_lines_of_code_that_is() -> None:
    count = lines_of_code(PACKAGE.rglob("*.py"))
    assert f"in {count} lines of code" in PAGE
    assert count < PROMISE


@pytest.mark.slow
def test_followed_to_the_letter_it_gives_the_package(followed) -> None:
    reader, _ = followed
    made = contents(reader.home / PACKAGE.name)
    own = {p: c for p, c in made.items() if not re.search(r"__pycache__|\.egg-info|\.pytest_cache|^build/", p)}
    assert own == files()


@pytest.mark.slow
def test_the_suite_passes_before_and_after(followed) -> None:
    answers = [done.stdout for text, done in followed[1].items() if "pytest" in text]
    assert len(answers) == 2
    assert all(" passed" in answer and " failed" not in answer for answer in answers)


@pytest.mark.slow
def test_a_line_taken_away_is_answered_as_the_page_says(followed) -> None:
    reader, _ = followed
    file = reader.home / PACKAGE.name / "src" / "pokeflow_opencv" / "stages" / "compile.py"
    whole, (line,) = file.read_text(), re.findall(r"without `(.*)` it answers", PAGE)
    assert f"    {line}\n" in whole
    file.write_text(whole.replace(f"    {line}\n", ""))
    try:
        answer = reader.run(
            f"pytest -p no:cacheprovider {PACKAGE.name}/tests -k preprocessing_of_the_data || true"
        ).stdout
    finally:
        file.write_text(whole)
    (shown,) = [text for _, kind, text in STEPS if not kind and "the contract: " in text]
    assert re.search(".*".join(map(re.escape, shown.strip().split("…"))), answer), answer


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
        assert [file.read() for file in carried if file] == [files()["src/pokeflow_opencv/network.py"]]


@pytest.mark.slow
def test_a_picture_is_recognised_by_it(followed) -> None:
    reader, _ = followed
    (data,) = (reader.home / "store" / "tasks" / "prepare").glob("*/*")
    Image.fromarray(np.load(data / "queries.npy", mmap_mode="r")[0]).save(reader.home / "photo.png")
    done = reader.run("pokeflow recognize photo.png --json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"card_id"') == 5
