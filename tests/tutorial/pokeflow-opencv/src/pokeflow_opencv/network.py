"""Opens a compiled model with OpenCV. Devices get this file unchanged: of pokeflow it imports only what they have."""

from pathlib import Path

import cv2
import numpy as np

from pokeflow.errors import PokeflowError
from pokeflow_vision.preprocessing import Preprocessing, normalize

FILE = "model.onnx"
FRAMEWORK = f"OpenCV {cv2.__version__}"


class OpencvNetwork:
    def __init__(self, net: cv2.dnn.Net, spec: Preprocessing) -> None:
        self.net, self.spec = net, spec
        self.dim = self(self.prepare(np.zeros((1, spec.size, spec.size, 3), np.uint8))).shape[1]

    def prepare(self, squares: np.ndarray) -> np.ndarray:
        return normalize(squares, self.spec)

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        self.net.setInput(prepared, "image")
        return self.net.forward("embedding")


def open_network(folder: Path, spec: Preprocessing, threads: int) -> OpencvNetwork:
    cv2.setNumThreads(threads or cv2.getNumberOfCPUs())  # OpenCV has one number for the whole process
    try:
        return OpencvNetwork(cv2.dnn.readNetFromONNX(str(folder / FILE)), spec)
    except cv2.error as error:
        raise PokeflowError(f"{folder / FILE}: {FRAMEWORK} cannot run it ({error}). Export it again.") from error
