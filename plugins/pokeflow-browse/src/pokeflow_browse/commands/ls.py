"""The command ``pokeflow ls``: prints the published tree with the source of each file, and the gaps in it."""

import argparse
import json
from collections.abc import Iterator

from pokeflow import text
from pokeflow.project import inventory
from pokeflow.project.inventory import Inventory
from pokeflow.text import table
from pokeflow_browse import configured, listing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("path", nargs="?", default="", help="a file or folder of the tree (default: all of it)")
    parser.add_argument("--gaps", action="store_true", help="only missing files, and the task that would produce each")
    parser.add_argument("--depth", type=int, help=f"maximum depth of folders (default: {listing.PAGE} lines)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a tree")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the tree, or a part of it, from a single listing, whatever the number of files."""
    contents = inventory.scan(configured.tree(overrides))
    top = listing.at(listing.build_tree(contents), args.path)
    gaps = [
        state.leaf for state in contents.gaps if f"{state.leaf.path}/".startswith(f"{top.path}/" if top.path else "")
    ]
    if args.json:
        entries = [] if args.gaps else list(listing.plain(top, listing.DEPTH if args.depth is None else args.depth))
        document = {
            "project": contents.tree.about.name,
            "uri": contents.tree.objects.uri,
            "entries": entries,
            "gaps": [{"path": leaf.path, "maker": leaf.maker} for leaf in gaps],
            "orphans": [item.path for item in contents.orphans],
            "damaged": dict(contents.damaged),
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif args.gaps:
        rows = [(leaf.path, leaf.maker) for leaf in gaps]
        print(table(("gap", "would come from"), rows) if rows else "No gaps: every file of the layout exists.")
    else:
        print(table(listing.HEAD, listing.rows(top, listing.fitting(top) if args.depth is None else args.depth)))
        print("\n" + "\n".join(_summary(contents)))
    return 0


def _summary(contents: Inventory) -> Iterator[str]:
    size = text.format_size(sum(item.entry.size for item in contents.items))
    line = f"{contents.tree.objects.uri}: {text.format_count(len(contents.items), 'file')}, {size}"
    if contents.gaps:
        line += f"; {text.format_count(len(contents.gaps), 'gap')}: pokeflow ls --gaps"
    yield f"{line}."
    if contents.orphans:
        orphans = text.shorten(item.path for item in contents.orphans)
        yield f"In no receipt: {orphans}. Run 'pokeflow verify' for details."
    yield from map(text.strip_control_characters, contents.damaged.values())
