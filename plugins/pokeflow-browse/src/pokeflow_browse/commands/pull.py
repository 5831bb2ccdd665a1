"""The command ``pokeflow pull``: downloads a published version, or a link's target, and verifies every checksum."""

import argparse
from pathlib import Path

from pokeflow import text
from pokeflow_browse import configured, pull


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("what", help="model (the newest version), model:version, or a link such as data/processed")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="target folder (default: ./<project>)",
    )
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only matching files, such as '*.onnx'",
    )


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Download files and print their paths; existing files with the right checksum are kept."""
    tree = configured.tree(overrides)
    plan = pull.plan(tree, args.what, args.file)
    for note in plan.notes:
        print(text.strip_control_characters(note))
    folder = args.to or Path(tree.about.name)
    result = pull.pull(plan.files, folder, plan.name)
    for path in result.fetched:
        print(folder / text.strip_control_characters(path))
    existing = f", {len(result.kept):,} existed already" if result.kept else ""
    count = text.format_count(len(result.fetched), "file")
    print(f"{text.strip_control_characters(plan.name)}: {count} fetched ({text.format_size(result.size)}){existing}.")
    return 0
