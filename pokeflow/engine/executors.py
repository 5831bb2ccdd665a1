"""Executors of the core, which need no plugin: in this process, and in a worker process."""

import os
import signal
import subprocess
import sys
from typing import Any

from pokeflow.engine import worker
from pokeflow.errors import PokeflowError
from pokeflow.types import Backend, Result, Task


def run_here(task: Task, backend: Backend, params: Any) -> Result:
    """Run the backend in this process."""
    return worker.run(task, backend)


def run_in_process(task: Task, backend: Backend, params: Any) -> Result:
    """Run the task in a worker process, so that a crash or a kill for lack of memory fails only this task."""
    file = task.work / "task.json"
    file.write_bytes(worker.dump(task))
    # In a session of its own: Ctrl-C in a terminal reaches only this process, which then asks the worker once to stop.
    # runpy warns because the package imports this module before running it; here that is intended.
    quiet = ("-W", "ignore::RuntimeWarning:runpy")
    child = subprocess.Popen(
        [sys.executable, *quiet, "-m", "pokeflow.engine.worker", str(file), str(os.getpid())], start_new_session=True
    )
    try:
        code = child.wait()
    except BaseException:
        # SIGTERM lets the backend write its checkpoint.
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise
    if code < 0:
        guess = "; out of memory, perhaps. Use a machine with more" if code == -signal.SIGKILL else ""
        raise PokeflowError(f"the worker was ended by signal {signal.Signals(-code).name}{guess}.")
    return worker.read_result(task)
