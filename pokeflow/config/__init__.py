"""Configuration: conversion of YAML and overrides to a ``Flow`` of plain, validated data.

Hydra composes and OmegaConf resolves; a ``Flow`` holds no types of theirs, and both are imported only for composing.
"""

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pokeflow.config._search_path import GROUPS, NAME, conf_dir, distribution_of, options, shipped_conf
from pokeflow.flow import Flow

if TYPE_CHECKING:  # not needed for help
    from pokeflow.config._choices import Choices
    from pokeflow.store import Store

__all__ = [
    "GROUPS",
    "NAME",
    "choices",
    "compose_plain",
    "conf_dir",
    "distribution_of",
    "load",
    "load_store",
    "open_store",
    "options",
    "shipped_conf",
]


def choices(group: str, overrides: Sequence[str] = ()) -> "Choices":
    """Return the subgroups and options of a group (empty: the top level), on the search path of the overrides."""
    from pokeflow.config import _choices

    return _choices.choices(group, overrides)


def compose_plain(overrides: Sequence[str] = ()) -> Any:
    """Return the configuration that overrides compose to, as plain data, neither resolved nor validated."""
    from pokeflow.config import _choices

    return _choices.compose_plain(overrides)


def load(overrides: Sequence[str] = (), *, config_dir: "str | os.PathLike[str] | None" = None) -> Flow:
    """Compose a configuration and validate it; see ``pokeflow.load``."""
    from pokeflow import plugins
    from pokeflow.config import composition, omegaconf
    from pokeflow.config.resolver import resolve

    if isinstance(overrides, str):
        raise TypeError("overrides: a list of KEY=VALUE is expected, not one text.")
    words = [*(("--config-dir", os.fspath(config_dir)) if config_dir is not None else ()), *overrides]
    composed = composition.compose(composition.parse_arguments(words))
    registry = plugins.registry(plugins.manager())
    return resolve(omegaconf.to_plain(composed.config), registry, command=shlex.join(["pokeflow", *words]))


def load_store(overrides: Sequence[str] = ()) -> "Store":
    """Open the store that overrides name; raise a ConfigError for its faults, whatever values the other groups have."""
    from pokeflow.config import composition, omegaconf

    return open_store(omegaconf.to_plain(composition.compose_config(overrides)).get("store"))


def open_store(data: Any) -> "Store":
    """Open the store that plain data of the group ``store`` describes; raise a ConfigError for its faults."""
    from pathlib import Path

    from pokeflow import store
    from pokeflow.config.resolver import remote_store_of, resolve_store

    settings = resolve_store(data)
    return store.open_at(Path(settings.root).expanduser(), remote_store_of(settings), settings.connections)
