"""Candidates for the next word of a command line: groups, their options and keys, looked up with Hydra."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from pokeflow.config import composition


class Choices(NamedTuple):
    """Subgroups and options of a configuration group."""

    groups: list[str]
    options: list[str]


def choices(group: str, overrides: Sequence[str]) -> Choices:
    """Return the subgroups and options of a group on the search path that the overrides define."""
    folders = [word for flag, word in pairwise(overrides) if flag in ("--config-dir", "-cd")]
    path = [f"hydra.searchpath=['file://{folder}']" for folder in folders[-1:]]
    with composition.session(composition.Arguments()) as loader:
        kinds = (ObjectType.GROUP, ObjectType.CONFIG)
        return Choices(*(loader.get_group_options(group, kind, "config", path) for kind in kinds))


def compose_plain(overrides: Sequence[str]) -> Any:
    """Return the composed configuration as plain data, with interpolations unresolved."""
    return OmegaConf.to_container(composition.compose_config(overrides), resolve=False)
