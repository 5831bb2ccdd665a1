"""What is checked of making the same again: at once, in another process, after a kill; and of where files go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pokeflow.engine import told, worker
from pokeflow.errors import Unavailable
from pokeflow.store import list_files
from pokeflow_vision.testing.bench import Bench, Made, python_path, sums
from pokeflow_vision.testing.breach import Breach, NotChecked

WRITES = 2
"""The file of the result at which a compilation is killed: one is written by then, and one is to come."""
STEADY = "set deterministic = False and why in the test class, if the SDK cannot do better"


def same_twice(bench: Bench, unsteady: str | None) -> None:
    """Two compilations of the same leave the same files."""
    first = bench.compiled
    rule = "the same input gives the same files: a digest stands for one result"
    again = bench.run(bench.compiling())
    differ = _differences(first, again, unsteady)
    if differ:
        raise Breach(rule, f"{differ} after a second run", f"fix every seed, write no times; {STEADY}.")


def same_elsewhere(bench: Bench, unsteady: str | None) -> None:
    """The executor ``process`` gives the same: parameters survive the way through JSON."""
    first, apart = bench.compiled, _apart(bench)
    _require_steady(bench, unsteady)
    rule = "a task gives the same in another process, to which it travels as JSON"
    differ = _differences(first, apart[0], unsteady)
    if differ:
        mend = "keep to task.params, inputs, work and output: no module state, nothing of the current folder."
        raise Breach(rule, differ, mend)


def own_folders_only(bench: Bench) -> None:
    """A backend writes below ``task.output`` and ``task.work``, and nowhere else."""
    made, strays = _apart(bench)
    if made.error is not None:
        raise NotChecked(f"it ends in an error in a process of its own: {told(made.error)}")
    rule = "a backend writes below task.output and task.work only; it leaves its inputs as they are"
    if strays:
        mend = "give the SDK a folder in task.work, and tempfile a dir= there."
        raise Breach(rule, f"left behind: {', '.join(strays)}", mend)
    now = sums(bench.prepared.folder, bench.student.folder)
    if changed := sorted(str(f.relative_to(bench.root)) for f in now.keys() ^ bench.given.keys()) or sorted(
        str(file.relative_to(bench.root)) for file in now if now[file] != bench.given[file]
    ):
        raise Breach(rule, f"inputs changed: {', '.join(changed)}", "copy an input to task.work before changing it.")


def same_after_a_kill(bench: Bench, unsteady: str | None) -> None:
    """A compilation that was killed in the middle is made again, from what its work folder kept, with the same end."""
    first = bench.compiled
    _require_steady(bench, unsteady)
    task = bench.compiling()
    file = task.work / "task.json"
    file.write_bytes(worker.dump(task))
    command = [sys.executable, "-m", "pokeflow_vision.testing.interrupted", str(file), str(os.getpid()), str(WRITES)]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    rule = "after a kill in the middle a second run, with the same work folder, gives what an undisturbed one gives"
    if done.returncode not in (0, -signal.SIGKILL):
        raise NotChecked(f"it ends in an error in a process of its own: {done.stderr.strip()[-400:]}")
    again = bench.run(bench.task(task.name, task.inputs, work=task.work))
    differ = _differences(first, again, unsteady)
    if differ:
        raise Breach(rule, differ, "take from task.work only what is whole: write beside, then rename.")


def _apart(bench: Bench) -> tuple[Made, list[str]]:
    """A compilation in a process of its own, and what it left where it has no business; made once."""
    assert bench.compiled
    if bench.apart is None:
        here, temporary = bench.folder("here"), bench.folder("temporary")
        made = bench.run_apart(bench.compiling(), here, temporary)
        strays = [f"{name} in the current folder" for name in _names(here)]
        # A runtime may mark its session there, as ONNX Runtime does with .ses: that is nothing of the backend's.
        left = [name for name in _names(temporary) if not name.startswith(".")]
        strays += [f"{name} in the folder for temporary files" for name in left]
        bench.apart = made, strays
    return bench.apart


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def _require_steady(bench: Bench, unsteady: str | None) -> None:
    if unsteady is None and _differences(bench.compiled, bench.run(bench.compiling()), None):
        raise NotChecked("two runs in this very process differ already")


def _differences(first: Made, again: Made, unsteady: str | None) -> str:
    """In what a second result is another one; of an unsteady target only the files' names are compared."""
    if isinstance(again.error, Unavailable):
        raise NotChecked(str(again.error))
    if again.error is not None:
        return f"it ends in an error: {told(again.error)}"
    before, now = ({f.path: f.sha256 for f in list_files(made.folder)} for made in (first, again))
    if before.keys() != now.keys():
        return f"only one of them leaves {', '.join(sorted(before.keys() ^ now.keys()))}"
    changed = sorted(path for path in now if now[path] != before[path])
    return f"{', '.join(changed)} differ" if changed and unsteady is None else ""
