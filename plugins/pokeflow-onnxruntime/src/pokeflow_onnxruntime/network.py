"""Opening of networks with ONNX Runtime, in the same way as in every other part of the project.

Small devices get this file unchanged: of pokeflow it imports only the modules that they have.
"""

from pathlib import Path

import onnxruntime

from pokeflow_vision import onnx_network
from pokeflow_vision.onnx_network import INPUT, ONNX, OUTPUT, OnnxNetwork
from pokeflow_vision.preprocessing import Preprocessing

__all__ = ["FILE", "FILES", "FRAMEWORK", "INPUT", "OUTPUT", "RUNTIME_ERRORS", "OnnxNetwork", "open_network"]

FILE = ONNX
FILES = (FILE, f"{FILE}[._]*")
"""Glob patterns of the network and of files with its weights next to it (``model.onnx.data``)."""
FRAMEWORK = f"ONNX Runtime {onnxruntime.__version__}"
RUNTIME_ERRORS = onnx_network.runtime_errors(onnxruntime)


def open_network(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    """Open a folder's network and run it once; raise a PokeflowError if it is missing or not a valid model.

    ``threads`` is the number of threads within an operator; 0 uses every core.
    """
    return onnx_network.open_network(onnxruntime, folder, spec, threads)
