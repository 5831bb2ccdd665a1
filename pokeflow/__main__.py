"""Entry point of ``python -m pokeflow``: the command line."""

from pokeflow.cli import main

if __name__ == "__main__":
    main()
