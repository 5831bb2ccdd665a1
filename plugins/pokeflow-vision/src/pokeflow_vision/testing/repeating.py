"""Checks of repeated compilation: at once, in another process and after a kill; and of the folders written to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pokeflow.engine import error_message, worker
from pokeflow.errors import UnavailableError
from pokeflow.store import list_files
from pokeflow_vision.testing.harness import TargetHarness, TaskOutcome, python_path, sums
from pokeflow_vision.testing.violations import ContractViolationError, NotApplicableError

WRITES = 2
"""Number of the output file at whose opening a compilation is killed: one is written by then, one is still to come."""
STEADY = "if the SDK cannot be deterministic, set deterministic = False and because in the test class"


def same_twice(harness: TargetHarness, nondeterministic: str | None) -> None:
    """Check that two compilations of the same input write the same files."""
    first = harness.compiled_model
    rule = "the same input gives the same files: a digest identifies one result"
    again = harness.run(harness.compiling())
    differ = _differences(first, again, nondeterministic)
    if differ:
        raise ContractViolationError(
            rule, f"{differ} after a second run", f"set every seed and write no times; {STEADY}."
        )


def same_elsewhere(harness: TargetHarness, nondeterministic: str | None) -> None:
    """Check that the executor ``process`` yields the same files: parameters must survive the conversion to JSON."""
    first, separate = harness.compiled_model, _compile_separately(harness)
    _require_deterministic(harness, nondeterministic)
    rule = "a task gives the same files in another process, which receives it as JSON"
    differ = _differences(first, separate[0], nondeterministic)
    if differ:
        remedy = "use only task.params, inputs, work and output: no module state, and nothing from the current folder."
        raise ContractViolationError(rule, differ, remedy)


def own_folders_only(harness: TargetHarness) -> None:
    """Check that a backend writes only below ``task.output`` and ``task.work``, and leaves its inputs unchanged."""
    outcome, strays = _compile_separately(harness)
    if outcome.error is not None:
        raise NotApplicableError(f"it fails in a separate process: {error_message(outcome.error)}")
    rule = "a backend writes only below task.output and task.work, and does not change its inputs"
    if strays:
        remedy = "pass the SDK a folder in task.work, and call tempfile with dir=task.work."
        raise ContractViolationError(rule, f"left behind: {', '.join(strays)}", remedy)
    checksums = sums(harness.data_input.folder, harness.student.folder)
    if changed_files := sorted(
        str(f.relative_to(harness.root)) for f in checksums.keys() ^ harness.input_checksums.keys()
    ) or sorted(
        str(file.relative_to(harness.root)) for file in checksums if checksums[file] != harness.input_checksums[file]
    ):
        raise ContractViolationError(
            rule, f"inputs changed: {', '.join(changed_files)}", "copy an input to task.work before changing it."
        )


def same_after_a_kill(harness: TargetHarness, nondeterministic: str | None) -> None:
    """Check that a compilation that is run again after a kill, with the same work folder, writes the same files."""
    first = harness.compiled_model
    _require_deterministic(harness, nondeterministic)
    task = harness.compiling()
    file = task.work / "task.json"
    file.write_bytes(worker.dump(task))
    command = [sys.executable, "-m", "pokeflow_vision.testing.interrupted", str(file), str(os.getpid()), str(WRITES)]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    rule = "after a kill, a second run with the same work folder gives the same files as an uninterrupted run"
    if process.returncode not in (0, -signal.SIGKILL):
        raise NotApplicableError(f"it fails in a separate process: {process.stderr.strip()[-400:]}")
    again = harness.run(harness.task(task.name, task.inputs, work=task.work))
    differ = _differences(first, again, nondeterministic)
    if differ:
        raise ContractViolationError(
            rule, differ, "read only complete files from task.work: write to a temporary name, then rename."
        )


def _compile_separately(harness: TargetHarness) -> tuple[TaskOutcome, list[str]]:
    """Compile once in a separate process, and return the outcome and the files left outside the task's folders."""
    assert harness.compiled_model
    if harness.separate_outcome is None:
        cwd, temporary = harness.folder("here"), harness.folder("temporary")
        outcome = harness.run_apart(harness.compiling(), cwd, temporary)
        strays = [f"{name} in the current folder" for name in _names(cwd)]
        # A runtime may mark its session there, as ONNX Runtime does with .ses: the backend does not write that.
        leftovers = [name for name in _names(temporary) if not name.startswith(".")]
        strays += [f"{name} in the folder for temporary files" for name in leftovers]
        harness.separate_outcome = outcome, strays
    return harness.separate_outcome


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def _require_deterministic(harness: TargetHarness, nondeterministic: str | None) -> None:
    if nondeterministic is None and _differences(harness.compiled_model, harness.run(harness.compiling()), None):
        raise NotApplicableError("two runs in the same process already differ")


def _differences(first: TaskOutcome, again: TaskOutcome, nondeterministic: str | None) -> str:
    """Describe how a second outcome differs; empty if it does not.

    For a target with a reason to be ``nondeterministic``, only the files' names are compared.
    """
    if isinstance(again.error, UnavailableError):
        raise NotApplicableError(str(again.error))
    if again.error is not None:
        return f"it fails: {error_message(again.error)}"
    before, now = ({f.path: f.sha256 for f in list_files(outcome.folder)} for outcome in (first, again))
    if before.keys() != now.keys():
        return f"only one of them writes {', '.join(sorted(before.keys() ^ now.keys()))}"
    differing = sorted(path for path in now if now[path] != before[path])
    return f"{', '.join(differing)} differ" if differing and nondeterministic is None else ""
