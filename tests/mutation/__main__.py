"""Mutation testing: ``python -m tests.mutation [MODULE …]`` prints which changes of a module no test notices.

Each module's mutants run with the tests that ``modules/*.toml`` name, in copies of the tree under ``build/mutation``.
A survivor counts unless it is accepted there, with a reason. Exits with 1 if one counts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "mutation"
Row = dict[str, Any]


def copy_tree(target: Path) -> Path:
    """Copy what git knows or would add, and make an environment in which every distribution is that of the copy.

    Returns:
        The Python of that environment, whose child processes find the copy too. It takes all else from this one.

    """
    shutil.rmtree(target, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    environment = target / ".venv"
    venv.create(environment, symlinks=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    sources = [target, *sorted(target.glob("plugins/*/src")), target / "tests" / "support" / "src"]
    packages = [path for path in sys.path if path.endswith("-packages")]
    (site / "copy.pth").write_text("".join(f"{path}\n" for path in (*sources, *packages)))
    for script in Path(sys.executable).parent.glob("*"):
        if script.is_file() and not (environment / "bin" / script.name).exists():
            head, _, body = script.read_bytes().partition(b"\n")
            if head.startswith(b"#!") and b"python" in head:
                (environment / "bin" / script.name).write_bytes(b"#!%s/bin/python\n%s" % (bytes(environment), body))
                (environment / "bin" / script.name).chmod(0o755)
    return environment / "bin" / "python"


def run_mutants(module: str, tests: Sequence[str], jobs: int, *, again: bool = False) -> list[Row]:
    """Run the mutants of a module in so many processes, each in a copy of its own; return one row for each mutant.

    ``again`` runs those alone that survived the last time, for tests that were only added since.
    """
    results = WORK / f"{module.replace('/', '.')}.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    killed = [row for row in _read(results) if row["killed"]] if again else []
    results.write_text("".join(json.dumps(row) + "\n" for row in killed))
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    running = []
    for part in range(jobs):
        tree = WORK / f"{module.replace('/', '.')}-{part}"
        command = [copy_tree(tree), "-m", "tests.mutation.session", module, json.dumps(list(tests))]
        command += [str(part), str(jobs), str(results)]
        running.append((subprocess.Popen(command, cwd=tree, env=variables), tree))
    failed = False
    for process, tree in running:
        failed |= process.wait() != 0
        shutil.rmtree(tree, ignore_errors=True)
    if failed:
        raise SystemExit(1)
    return _read(results)


def _read(results: Path) -> list[Row]:
    """Return the rows of a file of results, by line; none without the file."""
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return sorted(rows, key=lambda row: (row["line"], row["operator"], row["after"]))


def report(module: str, rows: Sequence[Row], accepted: Sequence[Mapping[str, str]]) -> int:
    """Print a module's score and its survivors; return how many of them are not accepted."""
    survivors = [row for row in rows if not row["killed"]]
    known = {(each["before"], each["after"]) for each in accepted}
    open_ = [row for row in survivors if (row["before"], row["after"]) not in known]
    stale = known - {(row["before"], row["after"]) for row in survivors}
    for row in open_:
        print(f"{module}:{row['line']}: {row['operator']}\n  - {row['before']}\n  + {row['after']}")
    for before, after in sorted(stale):
        print(f"{module}: accepted, but it does not survive:\n  - {before}\n  + {after}")
    kept = len(survivors) - len(open_)
    killed = len(rows) - len(survivors)
    score = 100 * killed / max(1, len(rows) - kept)
    print(
        f"{module}: {len(rows)} mutants, {killed} killed, {kept} accepted, {len(open_)} open: {score:.1f} %", flush=True
    )
    return len(open_)


def main() -> int:
    """Test the mutants of the modules that the command line names, or of all."""
    modules: dict[str, Any] = {}
    for file in sorted((HERE / "modules").glob("*.toml")):
        modules |= tomllib.loads(file.read_text())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(modules)}")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with a copy of the tree")
    parser.add_argument("--again", action="store_true", help="only what survived the last time")
    chosen = parser.parse_args()
    if strange := set(chosen.modules) - set(modules):
        parser.error(f"modules/*.toml name no tests of {', '.join(sorted(strange))}")
    left = 0
    for module in chosen.modules or modules:
        rows = run_mutants(module, modules[module]["tests"], chosen.jobs, again=chosen.again)
        left += report(module, rows, modules[module].get("accepted", []))
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
