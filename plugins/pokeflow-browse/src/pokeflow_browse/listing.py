"""Listing of the tree for people: folders with their totals, and gaps for files that do not exist yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from pokeflow import text
from pokeflow.errors import ConfigError, PokeflowError, unknown
from pokeflow.project import links
from pokeflow.project.inventory import Inventory, Item, writes_itself
from pokeflow.project.links import Link
from pokeflow.types import LayoutEntry

DEPTH = 8
"""Default maximum depth of the folders to show."""
PAGE = 300
"""Maximum number of lines if no depth is set: for more, the depth is reduced and folders are summed up."""
CROWD = 40
"""Maximum number of entries of one folder to show; for more, the rest is summed up."""
HEAD = ("path", "size", "version", "written", "from")

Row = tuple[str, str, str, str, str]


@dataclass(slots=True)
class Node:
    """A folder or a file of the tree, or a gap where one is missing.

    ``files``, ``size``, ``newest``, ``gaps`` and ``orphans`` are totals that include all nodes below. ``missing`` is
    True if no file of the node's own leaf exists. ``collapsed`` is True if the children are not shown, because a stage
    writes them itself.
    """

    name: str
    path: str = ""
    files: int = 0
    size: int = 0
    gaps: int = 0
    orphans: int = 0
    newest: float | None = None
    item: Item | None = None
    leaf: LayoutEntry | None = None
    link: Link | str | None = None
    missing: bool = False
    collapsed: bool = False
    children: dict[str, "Node"] = field(default_factory=dict)

    @property
    def kind(self) -> Literal["folder", "file", "link", "gap"]:
        """Kind of the node."""
        if self.item is not None:
            return "link" if self.link is not None else "file"
        return "gap" if not self.files and not self.children else "folder"


def build_tree(contents: Inventory) -> Node:
    """Build the tree of nodes for an inventory; link files are read to show their targets."""
    root = Node(contents.tree.about.name)
    for state in contents.states:
        if state.leaf.path.endswith("/") or not state.present:
            node = _descend(root, state.leaf.path.removesuffix("/"))
            node.leaf, node.missing, node.collapsed = state.leaf, not state.present, writes_itself(state.leaf)
    folders = {"": root}
    for item in contents.items:
        folder, _, name = item.path.rpartition("/")
        if folder not in folders:
            folders[folder] = _descend(root, folder)
        # The node of a leaf exists already if the leaf is a folder, but not if it is a file.
        node = folders[folder].children.setdefault(name, Node(name, item.path))
        node.item, node.leaf = item, item.leaf
        if item.kind == "link":
            node.link = _link(contents, item.path)
    _sum(root)
    return root


def _descend(root: Node, path: str) -> Node:
    node = root
    parts = path.split("/")
    for depth, part in enumerate(parts, 1):
        if part not in node.children:
            node.children[part] = Node(part, "/".join(parts[:depth]))
        node = node.children[part]
    return node


def _sum(root: Node) -> None:
    """Add the totals of its children to every node, from the bottom up."""
    order = [root]
    for node in order:
        order += node.children.values()
    for node in reversed(order):
        node.gaps = int(node.missing)
        if node.item is not None:
            entry = node.item.entry
            node.files, node.size, node.newest = 1, entry.size, entry.modified
            node.orphans = int(node.item.kind == "orphan")
        for child in node.children.values():
            node.files += child.files
            node.size += child.size
            node.gaps += child.gaps
            node.orphans += child.orphans
            if child.newest is not None:
                node.newest = max(node.newest or 0.0, child.newest)


def _link(contents: Inventory, path: str) -> Link | str:
    try:
        return links.read(contents.tree.objects, path)
    except PokeflowError as error:
        return str(error)


def at(root: Node, path: str) -> Node:
    """Return the node at a path; raise a ConfigError with similar and known names if it does not exist."""
    node = root
    for part in filter(lambda part: part not in ("", "."), path.split("/")):
        child = node.children.get(part)
        if child is None:
            command = f"ls {text.strip_control_characters(node.path)}".rstrip()
            raise ConfigError(
                [unknown(command, "file or folder", part, map(text.strip_control_characters, node.children))]
            )
        node = child
    return node


def rows(top: Node, depth: int = DEPTH) -> Iterator[Row]:
    """Yield a table row for each node, with the columns of ``HEAD`` and names drawn as a tree."""
    title = text.strip_control_characters(f"{top.path or top.name}") + ("/" if top.kind == "folder" else "")
    yield _row(title, top, shut=depth < 1 and bool(top.children))
    yield from _below(top, "", depth)


def fitting(top: Node) -> int:
    """Return the greatest depth that gives at most ``PAGE`` lines, from 1 to ``DEPTH``."""
    for depth in range(2, DEPTH + 1):
        if next(islice(rows(top, depth), PAGE, None), None) is not None:
            return depth - 1
    return DEPTH


def _below(node: Node, indent: str, depth: int) -> Iterator[Row]:
    if depth < 1:
        return
    visible, summarized = _crowd(node)
    for position, first in enumerate(visible):
        last = position == len(visible) - 1 and not summarized
        name, child = _join(first)
        inside = bool(child.children) and depth > 1 and not child.collapsed
        yield _row(f"{indent}{'└── ' if last else '├── '}{name}", child, shut=bool(child.children) and not inside)
        if inside:
            yield from _below(child, indent + ("    " if last else "│   "), depth - 1)
    if summarized:
        size = text.format_size(sum(child.size for child in summarized))
        yield (
            f"{indent}└── … {len(summarized):,} more",
            size,
            "",
            text.format_day(max(c.newest or 0.0 for c in summarized) or None),
            "",
        )


def _join(node: Node) -> tuple[str, Node]:
    """Join a folder that has a single child with that child; return the joined name and the innermost node."""
    names = [node.name]
    while node.leaf is None and len(node.children) == 1:
        node = next(iter(node.children.values()))
        names.append(node.name)
    is_folder = node.kind == "folder" or (node.kind == "gap" and node.leaf is not None and node.leaf.path.endswith("/"))
    return text.strip_control_characters("/".join(names)) + ("/" if is_folder else ""), node


def _crowd(node: Node) -> tuple[list[Node], list[Node]]:
    """Split the children into those to show and those to sum up; if there are many, gaps and orphans come first."""
    children = [node.children[name] for name in sorted(node.children)]
    if len(children) <= CROWD:
        return children, []
    visible = sorted(children, key=lambda child: not (child.gaps or child.orphans))[: CROWD - 1]
    names = {child.name for child in visible}
    return [c for c in children if c.name in names], [c for c in children if c.name not in names]


def _row(name: str, node: Node, *, shut: bool) -> Row:
    if node.kind == "gap":
        return name, "", "", "", f"gap: would come from {node.leaf.maker}" if node.leaf else "gap"
    version = node.item.receipt.version if node.item and node.item.receipt else ""
    size = text.format_size(node.size) if node.files else ""
    return (
        name,
        size,
        text.strip_control_characters(version),
        text.format_day(node.newest),
        text.strip_control_characters(_origin(node, shut)),
    )


def _origin(node: Node, shut: bool) -> str:
    if node.item is not None:
        return _describe_link(node.link) if node.link is not None else node.item.origin
    parts = [text.format_count(node.files, "file")] if node.files else []
    if node.gaps:
        parts.append(text.format_count(node.gaps, "gap"))
    if node.orphans:
        parts.append(f"{node.orphans:,} in no receipt")
    if node.missing and node.leaf is not None:
        parts.append(f"more would come from {node.leaf.maker}")
    elif node.collapsed and node.leaf is not None:
        parts.append(f"written by {node.leaf.maker}")
    elif shut:
        parts.append("not shown")
    return ", ".join(parts)


def _describe_link(link: Link | str) -> str:
    if isinstance(link, str):
        return f"link: {link}"
    holds = [text.format_size(link.size)] if link.size is not None else []
    holds += [text.format_count(link.files, "file")] if link.files is not None else []
    holds += [f"{name} {value}" for name, value in (link.select or {}).items()]
    return f"→ {link.target}" + (f" ({', '.join(holds)})" if holds else "")


def plain(top: Node, depth: int = DEPTH) -> Iterator[dict[str, Any]]:
    """Yield every node down to a depth as plain data, for JSON output; no node is summed up."""
    pending = [(top, depth)]
    while pending:
        node, levels = pending.pop()
        yield _plain(node)
        if levels > 0 and not (node.collapsed and node is not top):
            pending += [(node.children[name], levels - 1) for name in sorted(node.children, reverse=True)]


def _plain(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = {"path": node.path, "kind": node.kind}
    if node.kind == "gap":
        return fields | {"maker": node.leaf.maker if node.leaf else None}
    fields |= {"size": node.size, "written": text.iso_timestamp(node.newest)}
    if node.item is None:
        fields["maker"] = node.leaf.maker if node.missing and node.leaf else None
        return fields | {"files": node.files, "gaps": node.gaps, "orphans": node.orphans}
    published, receipt = node.item.published, node.item.receipt
    fields |= {
        "origin": node.item.origin,
        "orphan": node.item.kind == "orphan",
        "model": receipt.model if receipt else None,
        "version": receipt.version if receipt else None,
        "sha256": published.sha256 if published else None,
    }
    if isinstance(node.link, Link):
        return fields | {"link": links.to_dict(node.link)}
    return fields | ({"fault": node.link} if node.link else {})
