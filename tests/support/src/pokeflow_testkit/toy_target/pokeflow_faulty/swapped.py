"""An adapter that swaps blue and red, and imports a module that devices lack."""

from pathlib import Path

import numpy as np

from pokeflow_faulty import network
from pokeflow_vision import network as machinery  # noqa: F401 - a device lacks it
from pokeflow_vision.preprocessing import Preprocessing, normalize


class Swapped(network.Network):
    def prepare(self, squares: np.ndarray) -> np.ndarray:
        return normalize(squares[..., ::-1], self.spec)


def open_network(folder: Path, spec: Preprocessing, threads: int) -> Swapped:
    return Swapped(network.open_network(folder, spec, threads).session, spec)
