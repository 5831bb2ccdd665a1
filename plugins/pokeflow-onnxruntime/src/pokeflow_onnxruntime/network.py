"""Opens a network with ONNX Runtime, as every other part of the project does.

Small devices get this very file: of pokeflow it knows what they have, nothing else.
"""

from pathlib import Path

import onnxruntime

from pokeflow_vision import onnx_network
from pokeflow_vision.onnx_network import INPUT, ONNX, OUTPUT, OnnxNetwork
from pokeflow_vision.preprocessing import Preprocessing

__all__ = ["FILE", "FILES", "FRAMEWORK", "INPUT", "OUTPUT", "RUNTIME_ERRORS", "OnnxNetwork", "opened"]

FILE = ONNX
FILES = (FILE, f"{FILE}[._]*")
"""The network, and what may lie beside it with its weights (``model.onnx.data``)."""
FRAMEWORK = f"ONNX Runtime {onnxruntime.__version__}"
RUNTIME_ERRORS = onnx_network.runtime_errors(onnxruntime)


def opened(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    """Open a folder's network and try it; PokeflowError where it is not what a model folder must hold.

    ``threads`` are those within an operator; 0 is every core.
    """
    return onnx_network.open_network(onnxruntime, folder, spec, threads)
