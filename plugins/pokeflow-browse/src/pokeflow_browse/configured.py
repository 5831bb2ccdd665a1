"""The project's tree of the configuration that a command was given."""

from collections.abc import Sequence

import pokeflow
from pokeflow.project import Tree
from pokeflow.project import tree as trees


def tree(overrides: Sequence[str]) -> Tree:
    """Return the project's tree as overrides compose it."""
    return trees.of(pokeflow.load(overrides))
