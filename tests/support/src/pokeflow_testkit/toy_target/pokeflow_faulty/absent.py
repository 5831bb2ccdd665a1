"""An adapter whose runtime is not installed."""

from pathlib import Path

from pokeflow.errors import UnavailableError
from pokeflow_vision.preprocessing import Preprocessing


def open_network(folder: Path, spec: Preprocessing, threads: int) -> None:
    raise UnavailableError("no runtime here. Install the faulty runtime 2.0.")
