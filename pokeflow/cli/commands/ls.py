"""pokeflow ls: the published tree, what each file is from, and the gaps with the stage that would fill them."""

import argparse
import json
from collections.abc import Iterator, Sequence

from pokeflow import text
from pokeflow.cli import _configured as configured
from pokeflow.cli._arguments import asked
from pokeflow.cli._tables import table
from pokeflow.project import Inventory, listing, take_inventory


def main(args: Sequence[str]) -> int:
    """Print the tree, or a part of it; from one listing, whatever the number of files."""
    parser = argparse.ArgumentParser("pokeflow ls", description=__doc__)
    parser.add_argument("path", nargs="?", default="", help="a file or folder of the tree (default: all of it)")
    parser.add_argument("--gaps", action="store_true", help="only what is not there yet, and what would make it")
    parser.add_argument("--depth", type=int, help=f"folders deep (default: {listing.PAGE} lines at most)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a drawing")
    given, overrides = asked(parser, args)
    found = take_inventory(configured.tree(overrides))
    top = listing.at(listing.grow(found), given.path)
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
    size = text.size(sum(item.entry.size for item in found.items))
    told = f"{found.tree.objects.uri}: {text.count(len(found.items), 'file')}, {size}"
    if found.gaps:
        told += f"; {text.count(len(found.gaps), 'gap')}: pokeflow ls --gaps"
    yield f"{told}."
    if found.orphans:
        yield f"Named by no receipt: {text.some(item.path for item in found.orphans)}. 'pokeflow verify' tells more."
    yield from map(text.plain, found.damaged.values())
