"""Runs the command line: ``python -m pokeflow``."""

from pokeflow.cli import main

if __name__ == "__main__":
    main()
