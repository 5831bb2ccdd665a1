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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", nargs="?", help="model, or model:version (default: all)")
    parser.add_argument("--format", choices=("text", "mermaid"), help="default: by the suffix of --out, else text")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to a file instead of standard output")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the lineage of all published versions, or of one model with its ancestors and descendants."""
    if args.out is not None and args.out.suffix in PICTURES:
        message = f"{args.out.suffix} is not supported. Write .mmd (Mermaid), which GitHub, MkDocs and mmdc render."
        raise ConfigError([Fault("lineage.--out", message)])
    tree = configured.tree(overrides)
    receipts, errors = inventory.read(tree)
    graph = lineage.graph(tree.about, receipts, COLUMNS)
    for fault in (*errors.values(), *graph.faults):
        print(f"pokeflow: {text.strip_control_characters(fault)}", file=sys.stderr)
    if not graph.nodes:
        raise PokeflowError(f"{tree.objects.uri}: no model is published yet. Run 'pokeflow publish'.")
    if args.model:
        graph = lineage.neighbourhood(graph, args.model)
    suffix = args.out.suffix if args.out else ""
    drawing = _draw(graph, args.format or SUFFIXES.get(suffix, "text"))
    if args.out is None:
        print(drawing, end="")
    else:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(drawing, encoding="utf-8")
        size = text.format_size(len(drawing.encode()))
        print(f"{args.out}: {text.format_count(len(graph.nodes), 'version')}, {size}")
    return int(bool(errors))


def _draw(graph: Graph, format_: str) -> str:
    return (lineage_text.mermaid(graph) if format_ == "mermaid" else lineage_text.draw(graph)) + "\n"
