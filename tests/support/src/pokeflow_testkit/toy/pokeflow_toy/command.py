"""The command ``toy``: prints what it is given, and ends with 7."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--word")


def run(given: argparse.Namespace, overrides: list[str]) -> int:
    """Print the word and the overrides."""
    print(given.word, overrides)
    return 7
