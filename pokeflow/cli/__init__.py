"""Command line: parsing of arguments, output of tables and of errors in a sentence, and the exit code."""

from pokeflow.cli._main import dispatch, main, run

__all__ = ["dispatch", "main", "run"]
