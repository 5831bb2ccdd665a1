"""Check that the lists of mutated modules name existing files and lines."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "tests" / "mutation" / "modules").glob("*.toml"))
MODULES = {name: entry for file in FILES for name, entry in tomllib.loads(file.read_text(encoding="utf-8")).items()}


@pytest.mark.parametrize(("name", "entry"), MODULES.items(), ids=MODULES)
def test_a_module_and_its_tests_exist(name: str, entry: dict[str, Any]) -> None:
    assert (ROOT / name).is_file()
    files = [word for word in entry["tests"] if word.endswith(".py")]
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(("name", "entry"), MODULES.items(), ids=MODULES)
def test_accepted_changes_name_existing_lines_and_a_reason(name: str, entry: dict[str, Any]) -> None:
    lines = {line.strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()}
    for accepted in entry.get("accepted", ()):
        assert [line for line in accepted["before"].splitlines() if line.strip() not in lines] == []
        assert accepted["before"] != accepted["after"]
        assert len(accepted["reason"].split()) > 1
