"""An adapter whose runtime is not here."""

from pathlib import Path

from pokeflow.errors import Unavailable
from pokeflow_vision.preprocessing import Preprocessing


def opened(folder: Path, spec: Preprocessing, threads: int) -> None:
    raise Unavailable("no runtime here. Install the faulty runtime 2.0.")
