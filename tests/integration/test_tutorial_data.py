"""Follow the tutorial "a data plugin of your own" to the letter, and compare its package and its results."""

import subprocess
from pathlib import Path

import pytest

from pokeflow_testkit.newcomer import Newcomer, newcomer
from pokeflow_testkit.plugin_form import faults_of_form
from pokeflow_testkit.tutorial import blocks, follow, package_files, shows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "data-plugin.md"
PACKAGE = ROOT / "tests" / "tutorial" / "pokeflow-photos"
DRAW = "draw.py"

Followed = tuple[Newcomer, dict[str, subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """Follow the page; return the reader, and the result of each shell block."""
    reader = newcomer(tmp_path_factory.mktemp("reader"))
    return reader, follow(PAGE, reader, PACKAGE.name, outside=(DRAW,))


def test_blocks_of_the_page_are_the_package_s_files() -> None:
    shown = {block.file: block.text.encode() for block in blocks(PAGE) if block.file not in ("", DRAW)}
    kept = package_files(PACKAGE)
    assert shown.keys() >= {f"src/pokeflow_photos/{name}.py" for name in ("__init__", "folder", "params")}
    assert shown == {file: kept[file] for file in shown}


def test_the_package_has_the_form_of_every_plugin() -> None:
    assert faults_of_form(PACKAGE) == []


@pytest.mark.slow
def test_following_the_page_gives_the_package(followed: Followed) -> None:
    assert package_files(followed[0].home / PACKAGE.name) == package_files(PACKAGE)


@pytest.mark.slow
def test_the_plugins_tests_pass_before_and_after(followed: Followed) -> None:
    answers = [done.stdout for text, done in followed[1].items() if "pytest" in text]
    assert len(answers) == 2
    assert all(" passed" in answer and " failed" not in answer for answer in answers)


@pytest.mark.slow
def test_every_output_that_the_page_shows_was_printed(followed: Followed) -> None:
    """Compare the blocks without a language, which show output, except the first, which shows the folder."""
    printed = "\n".join(done.stdout + done.stderr for done in followed[1].values())
    shown = [block.text for block in blocks(PAGE) if not block.kind][1:]
    assert len(shown) == 4
    assert [text for text in shown if not shows(text, printed)] == []


@pytest.mark.slow
def test_added_photograph_changes_every_digest_until_removed(followed: Followed) -> None:
    added, removed = [done.stdout for text, done in followed[1].items() if "photos/item-00" in text]
    assert " 0 reused" in added
    assert "Nothing to run" in removed
