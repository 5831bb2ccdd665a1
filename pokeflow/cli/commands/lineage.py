"""pokeflow lineage: which version was made from which, and how; drawn as text or Mermaid."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pokeflow import text
from pokeflow.cli import _configured as configured
from pokeflow.cli._arguments import asked
from pokeflow.cli._tables import COLUMNS
from pokeflow.errors import ConfigError, Fault, PokeflowError
from pokeflow.project import (
    Graph,
    lineage_around,
    lineage_graph,
    lineage_mermaid,
    lineage_text,
    read_receipts_and_damage,
)
from pokeflow.store import write_atomically

SUFFIXES = {".mmd": "mermaid", ".mermaid": "mermaid"}
PICTURES = (".svg", ".png", ".pdf")


def main(args: Sequence[str]) -> int:
    """Print the lineage of all that is published, or of one model: it, what it descends from, what descends from it."""
    parser = argparse.ArgumentParser("pokeflow lineage", description=__doc__)
    parser.add_argument("model", nargs="?", help="model, or model:version (default: all)")
    parser.add_argument("--format", choices=("text", "mermaid"), help="default: as --out ends, or else text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to a file instead of printing it")
    given, overrides = asked(parser, args)
    if given.out is not None and given.out.suffix in PICTURES:
        message = f"{given.out.suffix} is no form of it. Write .mmd (Mermaid), which GitHub, MkDocs and mmdc draw."
        raise ConfigError([Fault("lineage.--out", message)])
    tree = configured.tree(overrides)
    known, damaged = read_receipts_and_damage(tree)
    graph = lineage_graph(tree.about, known, COLUMNS)
    for fault in (*damaged.values(), *graph.faults):
        print(f"pokeflow: {text.plain(fault)}", file=sys.stderr)  # noqa: T201
    if not graph.nodes:
        raise PokeflowError(f"{tree.objects.uri}: no model is published yet. 'pokeflow publish' does it.")
    if given.model:
        graph = lineage_around(graph, given.model)
    suffix = given.out.suffix if given.out else ""
    drawn = _drawn(graph, given.format or SUFFIXES.get(suffix, "text"))
    if given.out is None:
        print(drawn, end="")  # noqa: T201
    else:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(given.out, drawn.encode())
        print(f"{given.out}: {text.count(len(graph.nodes), 'version')}, {text.size(len(drawn.encode()))}")  # noqa: T201
    return int(bool(damaged))


def _drawn(graph: Graph, form: str) -> str:
    return (lineage_mermaid(graph) if form == "mermaid" else lineage_text(graph)) + "\n"
