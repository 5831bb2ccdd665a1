"""Access to the published tree of a project."""

from dataclasses import dataclass

from pokeflow import store as stores
from pokeflow.flow import Flow
from pokeflow.objects import Folder, ObjectStore
from pokeflow.types import About, LayoutEntry

__all__ = ["About", "LayoutEntry", "Tree", "open_tree"]


@dataclass(frozen=True, slots=True)
class Tree:
    """A project's tree: the objects below its root, the store that its links refer to, and its layout."""

    objects: ObjectStore
    store: ObjectStore
    about: About
    leaves: tuple[LayoutEntry, ...]


def open_tree(flow: Flow) -> Tree:
    """Open the tree that a flow publishes to: in the shared bucket if there is one, else in its local folder."""
    store = stores.open_for_flow(flow).remote or Folder(flow.root)
    return Tree(store.with_prefix(flow.tree), store, flow.about, flow.leaves)
