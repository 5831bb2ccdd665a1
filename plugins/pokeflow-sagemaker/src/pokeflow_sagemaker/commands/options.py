"""Parameters of a command: ``cloud.<command>.params``, overridden by options of the command line."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pokeflow import ConfigError, Fault
from pokeflow.flow import Flow

Params = TypeVar("Params")


def params_of(flow: Flow, command: str) -> Any:
    """Return the parameters of a command; raise a ConfigError if the configuration has none."""
    if command not in flow.cloud:
        message = f"has no parameters. Set cloud=sagemaker or cloud.{command}.params."
        raise ConfigError([Fault(f"cloud.{command}", message)])
    return flow.cloud[command]


def with_options(
    command: str, params: Params, check: Callable[[Params], Iterable[tuple[str, str]]], **options: Any
) -> Params:
    """Return parameters overridden by options of the command line; options that are None change nothing.

    Raises:
        ConfigError: If ``check`` yields faults.

    """
    values = {name: value for name, value in options.items() if value is not None}
    updated = dataclasses.replace(params, **values)  # type: ignore[type-var]  # Params is always a dataclass
    if faults := list(check(updated)):
        raise ConfigError([Fault(f"cloud.{command}.params.{key}", message) for key, message in faults])
    return updated
