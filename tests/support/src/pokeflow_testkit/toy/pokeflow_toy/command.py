"""The command ``toy``: prints its arguments, and exits with 7."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--word")


def run(args: argparse.Namespace, overrides: list[str]) -> int:
    """Print the word and the overrides."""
    print(args.word, overrides)
    return 7
