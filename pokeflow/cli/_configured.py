"""The project's tree of the configuration that a command was given."""

from collections.abc import Sequence

import pokeflow
from pokeflow.project import _tree as trees
from pokeflow.project._tree import Tree


def tree(overrides: Sequence[str]) -> Tree:
    """Return the project's tree as overrides compose it."""
    return trees.of(pokeflow.load(overrides))
