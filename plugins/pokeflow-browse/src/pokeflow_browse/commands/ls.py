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


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Print the tree, or a part of it, from a single listing, whatever the number of files."""
    scanned = inventory.scan(configured.tree(overrides))
    top = listing.at(listing.build_tree(scanned), arguments.path)
    gaps = [
        state.leaf for state in scanned.gaps if f"{state.leaf.path}/".startswith(f"{top.path}/" if top.path else "")
    ]
    if arguments.json:
        entries = (
            []
            if arguments.gaps
            else list(listing.plain(top, listing.DEPTH if arguments.depth is None else arguments.depth))
        )
        document = {
            "project": scanned.tree.about.name,
            "uri": scanned.tree.objects.uri,
            "entries": entries,
            "gaps": [{"path": leaf.path, "maker": leaf.maker} for leaf in gaps],
            "orphans": [item.path for item in scanned.orphans],
            "damaged": dict(scanned.damaged),
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif arguments.gaps:
        rows = [(leaf.path, leaf.maker) for leaf in gaps]
        print(table(("gap", "would come from"), rows) if rows else "No gaps: all that belongs here is here.")
    else:
        print(
            table(listing.HEAD, listing.rows(top, listing.fitting(top) if arguments.depth is None else arguments.depth))
        )
        print("\n" + "\n".join(_summary(scanned)))
    return 0


def _summary(scanned: Inventory) -> Iterator[str]:
    size = text.format_size(sum(item.entry.size for item in scanned.items))
    summary = f"{scanned.tree.objects.uri}: {text.format_count(len(scanned.items), 'file')}, {size}"
    if scanned.gaps:
        summary += f"; {text.format_count(len(scanned.gaps), 'gap')}: pokeflow ls --gaps"
    yield f"{summary}."
    if scanned.orphans:
        paths = text.shorten(item.path for item in scanned.orphans)
        yield f"Not in any receipt: {paths}. For details run: pokeflow verify"
    yield from map(text.strip_control_characters, scanned.damaged.values())
