"""Parameters of a command: those of ``cloud.<command>.params``, with what the command line sets on top."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pokeflow import ConfigError, Fault
from pokeflow.flow import Flow

Params = TypeVar("Params")


def params_of(flow: Flow, command: str) -> Any:
    """Return the parameters of a command; ConfigError where the configuration has none."""
    if command not in flow.cloud:
        message = f"has no parameters. Choose cloud=sagemaker, or give cloud.{command}.params."
        raise ConfigError([Fault(f"cloud.{command}", message)])
    return flow.cloud[command]


def with_options(
    command: str, params: Params, check: Callable[[Params], Iterable[tuple[str, str]]], **options: Any
) -> Params:
    """Return parameters with options of the command line on top; None is an option that was not given.

    Raises:
        ConfigError: with what ``check`` finds wrong with them.

    """
    given = {name: value for name, value in options.items() if value is not None}
    changed = dataclasses.replace(params, **given)  # type: ignore[type-var]  # a dataclass, whichever
    if faults := list(check(changed)):
        raise ConfigError([Fault(f"cloud.{command}.params.{key}", message) for key, message in faults])
    return changed
