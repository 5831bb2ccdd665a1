"""Run the blocks of code of the page "In a notebook" one after another, as cells."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pokeflow_testkit.support import environment

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-from-python.md").read_text(encoding="utf-8")
CELLS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the cells in a process and a folder of their own, and return what they print."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "cells.py").write_text("\n".join(CELLS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "train:dinov3-teacher: done" in done.stderr, "progress is logged"
    return done.stdout


def test_page_shows_every_public_function() -> None:
    for name in ("load", "plan", "run", "open_store", "ConfigError"):
        assert any(f"pokeflow.{name}" in cell for cell in CELLS), name


@pytest.mark.slow
def test_cells_print_mistakes_a_plan_figures_and_files(output: str) -> None:
    assert "models no model 'dinov3-techer'. Did you mean 'dinov3-teacher'?" in output
    assert "data.crads no key 'crads'. Did you mean 'cards'?" in output
    assert re.search(r"train:dinov3-teacher [0-9a-f]{16} after prepare:data", output)
    assert re.search(r"dinov3-teacher v1.0 benchmark latency_p50_ms [0-9.]+", output)


@pytest.mark.slow
def test_cells_leave_their_results_in_the_store(output: str) -> None:
    assert re.search(r"dinov3-teacher [0-9a-f]{16} [0-9.]+ .*notebook-store/tasks/train/dinov3-teacher", output)
