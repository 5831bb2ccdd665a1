"""The published project: one tree in which everything is found, made from records alone."""

from dataclasses import dataclass

from pokeflow import store as stores
from pokeflow.flow import Flow
from pokeflow.objects import Folder, Objects
from pokeflow.types import About, Leaf

__all__ = ["About", "Leaf", "Tree", "of"]


@dataclass(frozen=True, slots=True)
class Tree:
    """A project's tree: its objects below its root, the store that its links lead into, and what belongs where."""

    objects: Objects
    store: Objects
    about: About
    leaves: tuple[Leaf, ...]


def of(flow: Flow) -> Tree:
    """The tree that a configuration publishes to: below the shared store where there is one, else below its folder."""
    store = stores.of(flow).remote or Folder(flow.root)
    return Tree(store.at(flow.tree), store, flow.about, flow.leaves)
