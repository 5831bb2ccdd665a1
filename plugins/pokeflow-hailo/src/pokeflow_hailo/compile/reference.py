"""Inference of the float32 network that a HEF is compared with, by ONNX Runtime on this machine."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from pokeflow import PokeflowError
from pokeflow_vision.network import INPUT, ONNX, OUTPUT
from pokeflow_vision.preprocessing import Preprocessing, normalize

FRAMEWORK = f"ONNX Runtime {onnxruntime.__version__}"
_ERRORS = (
    *(faults.EPFail, faults.Fail, faults.InvalidArgument, faults.InvalidGraph, faults.InvalidProtobuf),
    *(faults.NoModel, faults.NoSuchFile, faults.NotImplemented, faults.RuntimeException),
)


class Reference:
    """A float32 network: normalizes uint8 squares on the host, and returns float32 N×``dim`` embeddings."""

    def __init__(self, folder: Path, spec: Preprocessing, dim: int) -> None:
        self.file, self.spec, self.dim = folder / ONNX, spec, dim
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # its warnings concern only speed, and would go to stderr
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise PokeflowError(
                f"{self.file}: not a network that {FRAMEWORK} can open ({error}). Export it again."
            ) from error

    def prepare(self, squares: "np.ndarray") -> Any:
        """Normalize squares to float32 N×3×S×S."""
        return normalize(squares, self.spec)

    def __call__(self, prepared: Any) -> "np.ndarray":
        """Return the embeddings, not scaled to length 1."""
        try:
            return np.asarray(self._session.run([OUTPUT], {INPUT: prepared})[0])
        except _ERRORS as error:
            raise PokeflowError(f"{self.file}: cannot be run ({error}). Export it with a dynamic batch.") from error
