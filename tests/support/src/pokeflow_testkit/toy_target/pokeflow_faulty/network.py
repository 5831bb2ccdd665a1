"""The adapter of the target with faults: rounded weights, run by ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime

from pokeflow.errors import PokeflowError
from pokeflow_vision.preprocessing import Preprocessing, normalize

FILE = "model.faulty"


class Network:
    def __init__(self, session: onnxruntime.InferenceSession, spec: Preprocessing) -> None:
        self.session, self.spec, self.dim = session, spec, 32

    def prepare(self, squares: np.ndarray) -> np.ndarray:
        return normalize(squares, self.spec)

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        return np.asarray(self.session.run(["embedding"], {"image": prepared})[0])


def open_network(folder: Path, spec: Preprocessing, threads: int) -> Network:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return Network(onnxruntime.InferenceSession(folder / FILE, options), spec)
    except Exception as error:
        raise PokeflowError(f"{folder / FILE}: cannot be opened ({error}). Compile it again.") from error
