"""Data types of pokeflow: plugin declarations, the inputs and results of tasks, records of finished tasks.

They are plain frozen dataclasses that every package and every plugin may import.
"""

from pokeflow.types._plugins import (
    Backend, Bill, Command, DocumentKind, Executor, NoParams, Result, Task, call_plugin, load_function, load_params,
)  # fmt: skip
from pokeflow.types._project import About, Budget, LayoutEntry
from pokeflow.types._records import (
    INSTANCE, JOB_SECONDS, LOG, RECEIPTS, RECORD, SHARED_MARK, SIMULATED, TASKS, TELEMETRY, File, Input, Record,
    RemoteStore, split_task_path, task_path, task_prefix,
)  # fmt: skip

__all__ = [
    "INSTANCE", "JOB_SECONDS", "LOG", "RECEIPTS", "RECORD", "SHARED_MARK", "SIMULATED", "TASKS", "TELEMETRY",
    "About", "Backend", "Bill", "Budget", "Command", "DocumentKind", "Executor", "File", "Input", "LayoutEntry",
    "NoParams", "Record", "RemoteStore", "Result", "Task", "call_plugin", "load_function", "load_params",
    "split_task_path", "task_path", "task_prefix",
]  # fmt: skip
