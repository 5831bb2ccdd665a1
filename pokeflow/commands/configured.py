"""The configuration that a command was given, as a flow or as the project's tree."""

from collections.abc import Sequence

from pokeflow import compose, config, plugins
from pokeflow import tree as trees
from pokeflow.flow import Flow
from pokeflow.resolve import resolve
from pokeflow.tree import Tree


def flow(overrides: Sequence[str]) -> Flow:
    """The flow that overrides compose to."""
    return resolve(config.plain(compose.composed(overrides)), plugins.registry(plugins.manager()))


def tree(overrides: Sequence[str]) -> Tree:
    """The project's tree as overrides compose it."""
    return trees.of(flow(overrides))
