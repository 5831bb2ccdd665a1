"""A published version, or the data that a link leads to, into a folder, every checksum compared."""

import argparse
from pathlib import Path

from pokeflow import text
from pokeflow_browse import configured, pull


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("what", help="model (the newest version), model:version, or a link such as data/processed")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to, with the tree's paths (default: ./<project>)")
    parser.add_argument("--file", action="append", default=[], metavar="PATTERN", help="only these, such as '*.onnx'")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Fetch and print what was fetched; what is there with the right checksum is kept."""
    tree = configured.tree(overrides)
    plan = pull.plan(tree, given.what, given.file)
    for note in plan.notes:
        print(text.plain(note))  # noqa: T201
    folder = given.to or Path(tree.about.name)
    done = pull.pull(plan.files, folder, plan.what)
    for path in done.fetched:
        print(folder / text.plain(path))  # noqa: T201
    kept = f", {len(done.kept):,} were there already" if done.kept else ""
    fetched = text.count(len(done.fetched), "file")
    print(f"{text.plain(plan.what)}: {fetched} fetched ({text.size(done.size)}){kept}.")  # noqa: T201
    return 0
