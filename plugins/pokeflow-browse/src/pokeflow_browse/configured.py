"""Access to the project's tree of a command's configuration."""

from collections.abc import Sequence

import pokeflow
from pokeflow.project import Tree
from pokeflow.project import tree as trees

NOTHING = "nothing is published here yet. Run 'pokeflow publish', or check the address."
"""Message for a tree without any file; the address of the tree precedes it."""


def tree(overrides: Sequence[str]) -> Tree:
    """Open the project's tree of the configuration with these overrides."""
    return trees.open_tree(pokeflow.load(overrides))
