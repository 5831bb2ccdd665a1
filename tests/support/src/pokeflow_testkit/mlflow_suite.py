"""MLflow's own tests of its SQL stores, on MLflow's stores and on ours.

    python -m pokeflow_testkit.mlflow_suite --tests …

No release of MLflow holds its tests, so they are not here: ``--tests`` names a copy of MLflow's repository, of which
the folder ``tests`` is enough. Both stores are of the release installed. A test that fails on MLflow's own store, as
one of another version may, says nothing about ours; what counts is the list of differences.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHOSEN = ("tests/store/tracking/sqlalchemy_store", "tests/store/model_registry/test_sqlalchemy_store.py")
OTHERS = ("test_sqlalchemy_store_schema.py", "test_sqlalchemy_workspace_store.py")
"""Test files in the same folder that are not about this store: MLflow's migrations, and workspaces."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one test, ``passed``, ``failed`` or ``skipped``, and the first line of its message."""

    result: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """The outcomes of all tests on one store, by name, and their duration in seconds."""

    name: str
    outcomes: Mapping[str, Outcome]
    seconds: float

    def __str__(self) -> str:
        """Return a line of figures."""
        counts = Counter(outcome.result for outcome in self.outcomes.values())
        figures = ", ".join(f"{counts[result]} {result}" for result in ("passed", "failed", "skipped"))
        return f"{self.name}: {figures}, {self.seconds:.0f} s"


def read(report: Path) -> Iterator[tuple[str, Outcome]]:
    """Yield the outcomes in pytest's JUnit report; a test with an error in its tear-down has failed."""
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        faults = [*case.iterfind("failure"), *case.iterfind("error")]
        if faults:
            yield name, Outcome("failed", (faults[0].get("message") or "").partition("\n")[0])
        else:
            yield name, Outcome("passed" if case.find("skipped") is None else "skipped")


def run(name: str, folder: Path, files: Sequence[str], words: str, env: Mapping[str, str], plugin: str = "") -> Round:
    """Run one round, with a process for each file, so that threads of earlier tests disturb none."""
    began, outcomes = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, file in enumerate(files):
            report = Path(temporary) / f"{number}.xml"
            command = [
                sys.executable, "-m", "pytest", file, "-q", "-k", words, "--rootdir", str(folder), "-c", os.devnull,
                "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:warnings", f"--junitxml={report}",
                "-p", "no:pokeflow_surroundings",  # it removes the credentials of the bucket
                *(("-p", plugin) if plugin else ()),
            ]  # fmt: skip
            paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH")]))
            settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": paths, "MLFLOW_S3_STORE_CACHE": temporary}
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, **settings, **env}, capture_output=True, text=True, check=False
            )
            if not report.is_file():
                raise SystemExit(f"{file}: pytest said:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
            outcomes.update(read(report))
            print(f"  {name}: {file}: {done.stdout.strip().splitlines()[-1]}", file=sys.stderr, flush=True)
    return Round(name, outcomes, time.monotonic() - began)


def differences(control: Round, ours: Round) -> Iterator[str]:
    """Yield a line for each test with another result on our store."""
    for name in sorted({*control.outcomes, *ours.outcomes}):
        before, after = control.outcomes.get(name), ours.outcomes.get(name)
        if (before and before.result) != (after and after.result):
            message = (after or before or Outcome("")).message
            yield f"{before.result if before else 'absent'} → {after.result if after else 'absent'}  {name}  {message}"


def main() -> None:
    """Run both rounds and print their counts and differences."""
    parser = argparse.ArgumentParser(prog="python -m pokeflow_testkit.mlflow_suite", description=__doc__)
    parser.add_argument(
        "--tests", type=Path, required=True, help="a copy of MLflow's repository, or of its tests in it"
    )
    parser.add_argument(
        "--words", default="not workspace-enabled", help="as pytest's -k; without workspaces by default"
    )
    parser.add_argument("--reread", action="store_true", help="after each test let another machine read the bucket")
    parser.add_argument("files", nargs="*", help="files below it; all that are about the stores by default")
    args = parser.parse_args()
    folder = args.tests.resolve()
    folder = folder.parent if folder.name == "tests" else folder
    chosen = args.files or [str(file.relative_to(folder)) for name in CHOSEN for file in _files(folder / name)]
    if not chosen:
        raise SystemExit(f"{args.tests}: has no {CHOSEN[0]}. Name a copy of MLflow's repository.")
    from pokeflow_testkit.s3 import moto

    control = run("MLflow's SQL store", folder, chosen, args.words, {})
    with moto() as server:
        env = {**server.env, "POKEFLOW_SUITE_BUCKET": server.bucket(), "POKEFLOW_SUITE_REREAD": "1" * args.reread}
        ours = run("the s3 store", folder, chosen, args.words, env, "pokeflow_testkit.mlflow_swap")
    print(control, ours, *differences(control, ours), sep="\n")


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [f for f in sorted(path.glob("test_*.py")) if f.name not in OTHERS]


if __name__ == "__main__":
    main()
