"""The command ``pokeflow lineage``: draws the parents and children of versions, as text or Mermaid."""

import argparse
import sys
from pathlib import Path

from pokeflow import text
from pokeflow.errors import ConfigError, Fault, PokeflowError
from pokeflow.project import inventory
from pokeflow.text import COLUMNS
from pokeflow_browse import configured, lineage, lineage_text
from pokeflow_browse.lineage import Graph

SUFFIXES = {".mmd": "mermaid", ".mermaid": "mermaid"}
PICTURES = (".svg", ".png", ".pdf")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", nargs="?", help="model, or model:version (default: all)")
    parser.add_argument("--format", choices=("text", "mermaid"), help="default: as --out ends, or else text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to a file instead of printing it")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Print the lineage of all published versions, or of one model with its ancestors and descendants."""
    if arguments.out is not None and arguments.out.suffix in PICTURES:
        message = f"{arguments.out.suffix} is no form of it. Write .mmd (Mermaid), which GitHub, MkDocs and mmdc draw."
        raise ConfigError([Fault("lineage.--out", message)])
    tree = configured.tree(overrides)
    known, damaged = inventory.read(tree)
    graph = lineage.graph(tree.about, known, COLUMNS)
    for fault in (*damaged.values(), *graph.faults):
        print(f"pokeflow: {text.strip_control_characters(fault)}", file=sys.stderr)
    if not graph.nodes:
        raise PokeflowError(f"{tree.objects.uri}: no model is published yet. 'pokeflow publish' does it.")
    if arguments.model:
        graph = lineage.neighbourhood(graph, arguments.model)
    suffix = arguments.out.suffix if arguments.out else ""
    drawn = _drawn(graph, arguments.format or SUFFIXES.get(suffix, "text"))
    if arguments.out is None:
        print(drawn, end="")
    else:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(drawn, encoding="utf-8")
        size = text.format_size(len(drawn.encode()))
        print(f"{arguments.out}: {text.format_count(len(graph.nodes), 'version')}, {size}")
    return int(bool(damaged))


def _drawn(graph: Graph, form: str) -> str:
    return (lineage_text.mermaid(graph) if form == "mermaid" else lineage_text.draw(graph)) + "\n"
