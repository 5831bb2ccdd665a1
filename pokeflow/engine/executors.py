"""The two executors that need no plugin: this very process, and a process of its own."""

import os
import signal
import subprocess
import sys
from typing import Any

from pokeflow.engine import worker
from pokeflow.errors import PokeflowError
from pokeflow.types import Backend, Result, Task


def run_here(task: Task, backend: Backend, params: Any) -> Result:
    """Call the backend in this process."""
    return worker.run(task, backend)


def run_in_process(task: Task, backend: Backend, params: Any) -> Result:
    """Run the task in a worker process: one that crashes or is killed for memory fails its task only."""
    file = task.work / "task.json"
    file.write_bytes(worker.dump(task))
    # A session of its own: Ctrl-C in a terminal reaches this process alone, which then asks the worker once to stop.
    # The package imports its module before runpy runs it, as it should: no cause for a warning.
    quiet = ("-W", "ignore::RuntimeWarning:runpy")
    child = subprocess.Popen(
        [sys.executable, *quiet, "-m", "pokeflow.engine.worker", str(file), str(os.getpid())], start_new_session=True
    )
    try:
        code = child.wait()
    except BaseException:
        # The backend gets the chance to write its checkpoint.
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise
    if code < 0:
        guess = "; out of memory, perhaps" if code == -signal.SIGKILL else ""
        raise PokeflowError(f"the worker was ended by signal {signal.Signals(-code).name}{guess}.")
    return worker.answer(task)
