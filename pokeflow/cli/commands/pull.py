"""pokeflow pull: a published version, or the data that a link leads to, into a folder, every checksum compared."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pokeflow import text
from pokeflow.cli import _configured as configured
from pokeflow.cli._arguments import asked
from pokeflow.project import plan_pull, pull


def main(args: Sequence[str]) -> int:
    """Fetch and print what was fetched; what is there with the right checksum is kept."""
    parser = argparse.ArgumentParser("pokeflow pull", description=__doc__)
    parser.add_argument("what", help="model (the newest version), model:version, or a link such as data/processed")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to, with the tree's paths (default: ./<project>)")
    parser.add_argument("--file", action="append", default=[], metavar="PATTERN", help="only these, such as '*.onnx'")
    given, overrides = asked(parser, args)
    tree = configured.tree(overrides)
    plan = plan_pull(tree, given.what, given.file)
    for note in plan.notes:
        print(text.plain(note))  # noqa: T201
    folder = given.to or Path(tree.about.name)
    done = pull(plan.files, folder, plan.what)
    for path in done.fetched:
        print(folder / text.plain(path))  # noqa: T201
    kept = f", {len(done.kept):,} were there already" if done.kept else ""
    fetched = text.count(len(done.fetched), "file")
    print(f"{text.plain(plan.what)}: {fetched} fetched ({text.size(done.size)}){kept}.")  # noqa: T201
    return 0
