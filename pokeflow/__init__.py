"""pokeflow: YAML says what to make, plugins make it, records say how it was made."""

from pokeflow.errors import ConfigError, Fault, PokeflowError, TaskError, Unavailable
from pokeflow.hookspecs import hookimpl
from pokeflow.types import Backend, Bill, Executor, File, Input, NoParams, Record, Result, Shared, Task

__version__ = "0.1.0"
__all__ = [
    "Backend",
    "Bill",
    "ConfigError",
    "Executor",
    "Fault",
    "File",
    "Input",
    "NoParams",
    "PokeflowError",
    "Record",
    "Result",
    "Shared",
    "Task",
    "TaskError",
    "Unavailable",
    "hookimpl",
]
