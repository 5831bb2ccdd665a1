"""Run of one module's mutants inside a copy of the tree: each mutant is written to disk and tested in a fork.

The parent imports the modules from outside the tree once, so that a fork starts in milliseconds. Of the tree it must
import only this package: each fork imports the mutated module itself, as do its child processes.
"""

import importlib
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.mutation.operators import Mutant, mutants_of

FLAGS = ("-x", "-p", "no:xdist", "-m", "not aws and not long", "-W", "ignore::pytest.PytestAssertRewriteWarning")
MODULES = ".mutation-modules.json"
"""File to which the first run writes the modules that it imported."""


def run_tests(tests: Sequence[str], seconds: float, *, note_modules: bool = False) -> tuple[bool, str]:
    """Run tests in a fork; return whether they pass, and what they print. ``seconds`` is the limit, a fault if passed.

    Child processes of the fork are killed with it.
    """
    output = Path(".mutation-output.txt")
    child = os.fork()
    if child == 0:
        os.setsid()
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        code = 99
        try:
            import pytest

            code = int(pytest.main([*FLAGS, *tests]))
            if note_modules:
                Path(MODULES).write_text(json.dumps(_modules_from_outside()))
        finally:
            sys.stdout.flush()
            os._exit(code)
    until = time.monotonic() + seconds
    status = None
    while status is None and time.monotonic() < until:
        done, raw_status = os.waitpid(child, os.WNOHANG)
        status = raw_status if done else None
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
        return False, f"not done after {seconds:.0f} s"
    return status == 0, output.read_text(errors="replace")


def _modules_from_outside() -> list[str]:
    """Return the names of the modules outside the tree, in the order of their import."""
    tree = str(Path.cwd())
    outside = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not file.startswith(tree) and not name.startswith("__"):
            outside.append(name)
    return outside


def preload() -> None:
    """Import the modules that the first run recorded, so that forks inherit them."""
    for name in json.loads(Path(MODULES).read_text()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(Exception):  # a fork imports it itself, or fails in the same way
                importlib.import_module(name)


def run(module: str, tests: Sequence[str], part: int, parts: int, results: Path) -> None:
    """Test every ``parts``-th mutant of a module from ``part`` on; append one JSON line for each to ``results``.

    Mutants that ``results`` has already are left out.

    Raises:
        SystemExit: the tests fail without any mutation.

    """
    began = time.monotonic()
    passed, output = run_tests(tests, 1800, note_modules=True)
    if not passed:
        raise SystemExit(f"{module}: its tests fail without a mutation:\n{output[-4000:]}")
    preload()
    limit = 20 + 4 * (time.monotonic() - began)
    file, known = Path(module), {_key(json.loads(line)) for line in results.read_text().splitlines()}
    source = file.read_text(encoding="utf-8")
    try:
        for number, mutant in enumerate(mutants_of(source)):
            if number % parts == part and _key(_row(mutant, passed=False, output="")) not in known:
                file.write_text(mutant.code, encoding="utf-8")
                passed, output = run_tests(tests, limit)
                with results.open("a") as out:
                    out.write(json.dumps(_row(mutant, passed=passed, output=output)) + "\n")
    finally:
        file.write_text(source, encoding="utf-8")


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["operator"], row["line"], row["before"], row["after"]


def _row(mutant: Mutant, *, passed: bool, output: str) -> dict[str, Any]:
    by = next((line for line in output.splitlines() if line.startswith(("FAILED", "ERROR", "not done"))), "")
    return {
        "operator": mutant.operator,
        "line": mutant.line,
        "before": mutant.before,
        "after": mutant.after,
        "killed": not passed,
        "by": by[:200],
    }


if __name__ == "__main__":
    run(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
