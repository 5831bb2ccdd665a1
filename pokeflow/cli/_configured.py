"""The configuration that a command was given, as a flow or as the project's tree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pokeflow import config
from pokeflow import store as stores
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve_store, shared_of
from pokeflow.flow import Flow
from pokeflow.project import _tree as trees
from pokeflow.project._tree import Tree
from pokeflow.store import Store


def flow(overrides: Sequence[str]) -> Flow:
    """The flow that overrides compose to."""
    return config.load(overrides)


def store(overrides: Sequence[str]) -> Store:
    """The store that overrides name; the rest of the configuration need not be whole."""
    return open_store(omegaconf.plain(composition.composed(overrides)).get("store"))


def open_store(data: Any) -> Store:
    """The store that the configuration's group of this name tells."""
    settings = resolve_store(data)
    return stores.open_at(Path(settings.root).expanduser(), shared_of(settings), settings.connections)


def tree(overrides: Sequence[str]) -> Tree:
    """The project's tree as overrides compose it."""
    return trees.of(flow(overrides))
