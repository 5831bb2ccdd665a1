"""The configuration that a command was given, as a flow or as the project's tree."""

from collections.abc import Sequence

from pokeflow import plugins
from pokeflow.config import _composition as composition
from pokeflow.config import _omegaconf as omegaconf
from pokeflow.config._resolver import resolve
from pokeflow.flow import Flow
from pokeflow.project import Tree, tree_of


def flow(overrides: Sequence[str]) -> Flow:
    """The flow that overrides compose to."""
    return resolve(omegaconf.plain(composition.composed(overrides)), plugins.registry(plugins.manager()))


def tree(overrides: Sequence[str]) -> Tree:
    """The project's tree as overrides compose it."""
    return tree_of(flow(overrides))
