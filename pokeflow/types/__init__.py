"""The nouns of pokeflow: what a plugin brings, what it is given, what a finished task left.

Plain frozen dataclasses that every package and every plugin may import.
"""

from pokeflow.types._plugins import (
    Backend,
    Bill,
    Command,
    DocumentKind,
    Executor,
    NoParams,
    Result,
    Task,
    call_plugin,
    load_function,
    load_params,
)  # fmt: skip
from pokeflow.types._project import (
    About,
    Budget,
    Leaf,
)  # fmt: skip
from pokeflow.types._records import (
    INSTANCE,
    JOB_SECONDS,
    LOG,
    RECEIPTS,
    RECORD,
    SHARED_MARK,
    SIMULATED,
    TASKS,
    TELEMETRY,
    File,
    Input,
    Record,
    Shared,
    split_task_path,
    task_path,
    task_prefix,
)  # fmt: skip

__all__ = [
    "INSTANCE", "JOB_SECONDS", "LOG", "RECEIPTS", "RECORD", "SHARED_MARK", "SIMULATED", "TASKS", "TELEMETRY",
    "About", "Backend", "Bill", "Budget", "Command", "DocumentKind", "Executor", "File", "Input",
    "Leaf", "NoParams", "Record", "Result", "Shared", "Task", "call_plugin", "load_function", "load_params",
    "split_task_path", "task_path", "task_prefix",
]  # fmt: skip
