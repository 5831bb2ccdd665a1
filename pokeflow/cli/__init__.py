"""What a person types and reads: arguments come in; tables, errors in a sentence and an exit code go out."""

from pokeflow.cli._main import dispatch, main, run

__all__ = ["dispatch", "main", "run"]
