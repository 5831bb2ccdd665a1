"""The one place that opens an ONNX network: its threads, and the contract its graph must keep.

Small devices get this very file: of pokeflow it knows errors and preprocessing, nothing else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from pokeflow.errors import PokeflowError
from pokeflow_vision.preprocessing import Preprocessing, normalize

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FILE, INPUT, OUTPUT = "model.onnx", "image", "embedding"
FILES = (FILE, f"{FILE}[._]*")
"""The network, and what may lie beside it with its weights (``model.onnx.data``)."""
FRAMEWORK = f"ONNX Runtime {onnxruntime.__version__}"
RUNTIME_ERRORS = (
    faults.EPFail,
    faults.Fail,
    faults.InvalidArgument,
    faults.InvalidGraph,
    faults.InvalidProtobuf,
    faults.NoModel,
    faults.NoSuchFile,
    faults.NotImplemented,
    faults.RuntimeException,
)
"""What ONNX Runtime raises for a network that it cannot open or run; they share no base class of their own."""


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """An opened network: uint8 N×size×size×3 prepared to float32 N×3×size×size; float32 N×dim out, not scaled."""

    session: "InferenceSession"
    dim: int
    spec: Preprocessing

    def prepare(self, squares: "np.ndarray") -> "np.ndarray":
        """Normalised images of resized pictures."""
        return normalize(squares, self.spec)

    def __call__(self, prepared: "np.ndarray") -> "np.ndarray":
        """Embeddings of normalised images."""
        return np.asarray(self.session.run([OUTPUT], {INPUT: prepared})[0])


def opened(folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    """Open a folder's network and try it; PokeflowError where it is not what a model folder must hold.

    ``threads`` are those within an operator; 0 is every core. Waiting threads sleep: spinning ones would slow
    whoever shares the machine.
    """
    file = folder / FILE
    if not file.is_file():
        raise PokeflowError(f"{file}: no such network. Make the model again.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings are about speed, and go to stderr unasked
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise PokeflowError(f"{file}: not a network that {FRAMEWORK} can open ({error}).") from error
    _require_signature(session, spec, file)
    return OnnxNetwork(session, _tried(session, spec, file), spec)


def _require_signature(session: "InferenceSession", spec: Preprocessing, file: Path) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = [f"{i.name}: {i.type}{i.shape}" for i in inputs], [o.name for o in outputs]
    expected = f"one input {INPUT!r}: float32 [batch, 3, {spec.size}, {spec.size}] and one output {OUTPUT!r}"
    right = (
        [i.name for i in inputs] == [INPUT]
        and [o.name for o in outputs] == [OUTPUT]
        and inputs[0].type == outputs[0].type == "tensor(float)"
        and list(inputs[0].shape[1:]) == [3, spec.size, spec.size]
        and not isinstance(inputs[0].shape[0], int)
    )
    if not right:
        raise PokeflowError(
            f"{file}: has inputs {', '.join(found[0])} and outputs {', '.join(found[1])}; "
            f"must have {expected}, with a dynamic batch. Export it again."
        )


def _tried(session: "InferenceSession", spec: Preprocessing, file: Path) -> int:
    """The embedding's length, from a run on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (2, spec.size, spec.size, 3), np.uint8)
    try:
        (embedding,) = session.run([OUTPUT], {INPUT: normalize(noise, spec)})
    except RUNTIME_ERRORS as error:
        raise PokeflowError(f"{file}: cannot be run on a batch of 2 ({error}). Export it again.") from error
    if embedding.ndim != 2 or len(embedding) != 2:
        raise PokeflowError(
            f"{file}: gives {list(embedding.shape)} for a batch of 2; must be [batch, D]. Export it again."
        )
    if not np.isfinite(embedding).all():
        raise PokeflowError(f"{file}: gives embeddings that are not finite (NaN or infinity). Train it again.")
    return int(embedding.shape[1])
