"""The command ``pokeflow ls``: prints the published tree with the source of each file, and the gaps in it."""

import argparse
import json
from collections.abc import Iterator

from pokeflow import text
from pokeflow.project import inventory
from pokeflow.project.inventory import Inventory
from pokeflow.text import table
from pokeflow_browse import configured, listing


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("path", nargs="?", default="", help="a file or folder of the tree (default: all of it)")
    parser.add_argument("--gaps", action="store_true", help="only what is not there yet, and what would make it")
    parser.add_argument("--depth", type=int, help=f"folders deep (default: {listing.PAGE} lines at most)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a drawing")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Print the tree, or a part of it, from a single listing, whatever the number of files."""
    found = inventory.scan(configured.tree(overrides))
    top = listing.at(listing.build_tree(found), given.path)
    gaps = [state.leaf for state in found.gaps if f"{state.leaf.path}/".startswith(f"{top.path}/" if top.path else "")]
    if given.json:
        entries = [] if given.gaps else list(listing.plain(top, listing.DEPTH if given.depth is None else given.depth))
        told = {
            "project": found.tree.about.name,
            "uri": found.tree.objects.uri,
            "entries": entries,
            "gaps": [{"path": leaf.path, "maker": leaf.maker} for leaf in gaps],
            "orphans": [item.path for item in found.orphans],
            "damaged": dict(found.damaged),
        }
        print(json.dumps(told, indent=2, ensure_ascii=False))  # noqa: T201
    elif given.gaps:
        rows = [(leaf.path, leaf.maker) for leaf in gaps]
        print(table(("gap", "would come from"), rows) if rows else "No gaps: all that belongs here is here.")  # noqa: T201
    else:
        print(table(listing.HEAD, listing.rows(top, listing.fitting(top) if given.depth is None else given.depth)))  # noqa: T201
        print("\n" + "\n".join(_summary(found)))  # noqa: T201
    return 0


def _summary(found: Inventory) -> Iterator[str]:
    size = text.format_size(sum(item.entry.size for item in found.items))
    told = f"{found.tree.objects.uri}: {text.format_count(len(found.items), 'file')}, {size}"
    if found.gaps:
        told += f"; {text.format_count(len(found.gaps), 'gap')}: pokeflow ls --gaps"
    yield f"{told}."
    if found.orphans:
        yield f"Named by no receipt: {text.shorten(item.path for item in found.orphans)}. 'pokeflow verify' tells more."
    yield from map(text.strip_control_characters, found.damaged.values())
