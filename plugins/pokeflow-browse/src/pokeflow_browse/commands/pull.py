"""The command ``pokeflow pull``: downloads a published version, or a link's target, and verifies every checksum."""

import argparse
from pathlib import Path

from pokeflow import text
from pokeflow_browse import configured, pull


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("what", help="model (the newest version), model:version, or a link such as data/processed")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to, with the tree's paths (default: ./<project>)")
    parser.add_argument("--file", action="append", default=[], metavar="PATTERN", help="only these, such as '*.onnx'")


def run(arguments: argparse.Namespace, overrides: list[str]) -> int:
    """Download files and print their paths; existing files with the right checksum are kept."""
    tree = configured.tree(overrides)
    plan = pull.plan(tree, arguments.what, arguments.file)
    for note in plan.notes:
        print(text.strip_control_characters(note))
    folder = arguments.to or Path(tree.about.name)
    done = pull.pull(plan.files, folder, plan.what)
    for path in done.fetched:
        print(folder / text.strip_control_characters(path))
    kept = f", {len(done.kept):,} were there already" if done.kept else ""
    fetched = text.format_count(len(done.fetched), "file")
    print(f"{text.strip_control_characters(plan.what)}: {fetched} fetched ({text.format_size(done.size)}){kept}.")
    return 0
