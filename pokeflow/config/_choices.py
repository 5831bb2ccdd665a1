"""What the next word of a command line may be: groups, their options and keys, asked of Hydra."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from pokeflow.config import composition


class Choices(NamedTuple):
    """The groups below a group, and the options that it has."""

    groups: list[str]
    options: list[str]


def choices(group: str, overrides: Sequence[str]) -> Choices:
    """Return what lies below a group, wherever the search path that overrides make has it."""
    folders = [word for flag, word in pairwise(overrides) if flag in ("--config-dir", "-cd")]
    path = [f"hydra.searchpath=['file://{folder}']" for folder in folders[-1:]]
    with composition.session(composition.Arguments()) as loader:
        kinds = (ObjectType.GROUP, ObjectType.CONFIG)
        return Choices(*(loader.get_group_options(group, kind, "config", path) for kind in kinds))


def composed(overrides: Sequence[str]) -> Any:
    """Return the composed configuration as plain data, interpolations as they are written."""
    return OmegaConf.to_container(composition.composed(overrides), resolve=False)
