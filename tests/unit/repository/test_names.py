"""Check the checker of names: it reports a bad one with a better one, and passes verbs and nouns."""

from pathlib import Path

import pytest

from tests import names


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("pokeflow", "plugins/pokeflow-odd/src/pokeflow_odd"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "better"),
    [
        ("def told(error): ...", "describe"),
        ("class Wanted: ...\nclass Made: ...", "build, make"),
        ("class Card:\n    def opened(self): ...", r"a verb \(open…\)"),
        ("async def connected(): ...", r"a verb \(connect…\)"),
        ("def find(place): ...", "uri, path"),
        ("def find(*, given=1): ...", "arguments"),
        ("def _find(files):\n    for found in files:\n        ...", "matches"),
        ("def find(files):\n    return lambda told: told", "message"),
    ],
)
def test_a_bad_name_is_reported_with_its_line_and_a_better_one(tree: Path, code: str, better: str) -> None:
    (tree / "plugins/pokeflow-odd/src/pokeflow_odd/odd.py").write_text(code)
    faults = list(names.faults(tree))
    assert faults
    assert all(fault.startswith("plugins/pokeflow-odd/src/pokeflow_odd/odd.py:") for fault in faults)
    assert any(better.replace("\\", "") in fault for fault in faults)


@pytest.mark.parametrize(
    "code",
    [
        "def open_network(path): ...",
        "def embed(images): ...",
        "def _told(error): ...",
        "class Record:\n    @property\n    def simulated(self): ...",
        "class PlannedStep: ...",
        "def is_simulated(record): ...",
    ],
)
def test_verbs_nouns_private_names_and_properties_pass(tree: Path, code: str) -> None:
    (tree / "pokeflow/fine.py").write_text(code)
    assert list(names.faults(tree)) == []


@pytest.mark.parametrize(
    ("code", "better"),
    [
        ("def test_it():\n    found = 1", "matches"),
        ("def test_a_fault_is_told(): ...", "message"),
        (f"def test_{'x' * 60}(): ...", "Say what it expects in 60"),
    ],
)
def test_a_bad_name_in_a_test_is_reported(tree: Path, code: str, better: str) -> None:
    (tree / "plugins/pokeflow-odd/tests").mkdir()
    (tree / "plugins/pokeflow-odd/tests/test_odd.py").write_text(code)
    (fault,) = names.faults(tree)
    assert fault.startswith("plugins/pokeflow-odd/tests/test_odd.py:")
    assert better in fault


@pytest.mark.slow
def test_no_module_has_a_bad_name() -> None:
    assert list(names.faults()) == []
