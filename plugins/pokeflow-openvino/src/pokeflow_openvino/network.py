"""The only module that opens networks with OpenVINO: threads, precision, and the contract that a graph must keep.

Small devices get this file unchanged: of pokeflow it imports only the modules that they have.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from pokeflow.errors import PokeflowError
from pokeflow_vision.onnx_network import INPUT, OUTPUT, embedding_dim
from pokeflow_vision.preprocessing import Preprocessing, normalize

# Importing OpenVINO records its use in ~/intel and may report it to Intel; without its telemetry package it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how an import is barred
import openvino  # noqa: E402

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest, Model

FILE = "model.xml"
FILES = (FILE, "model.bin")
"""File names of the graph and of its weights."""
FRAMEWORK = f"OpenVINO {openvino.__version__.partition('-')[0]}"
SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    # By default it computes with 16-bit floats on machines where that is faster, and results differ between machines.
    "INFERENCE_PRECISION_HINT": "f32",
    # Threads pinned to cores would wait for other processes that are pinned to the same cores.
    "ENABLE_CPU_PINNING": False,
}


@dataclass(frozen=True, slots=True)
class OpenvinoNetwork:
    """An opened OpenVINO network; ``dim`` is the length of an embedding."""

    request: "InferRequest"
    dim: int
    spec: Preprocessing
    # If two threads use a request at once, one can receive the other's result.
    _free: Lock = field(default_factory=Lock)

    def prepare(self, squares: "np.ndarray") -> "np.ndarray":
        """Convert uint8 N×size×size×3 RGB to the network's input, float32 N×3×size×size, normalized."""
        return normalize(squares, self.spec)

    def __call__(self, prepared: "np.ndarray") -> "np.ndarray":
        """Return the embeddings of prepared pictures, float32 N×dim, not scaled to length 1."""
        with self._free:
            return np.asarray(self.request.infer({INPUT: prepared}, share_inputs=True)[OUTPUT])


def open_network(folder: Path, spec: Preprocessing, threads: int) -> OpenvinoNetwork:
    """Open a compiled model's network and run it once; raise a PokeflowError if it is missing or not valid."""
    return open_file(folder / FILE, spec, threads)


def open_file(file: Path, spec: Preprocessing, threads: int) -> OpenvinoNetwork:
    """Open a network in any format that OpenVINO reads, such as ONNX, and run it once; 0 threads: every core."""
    request = compile_model(file, spec, threads).create_infer_request()
    return OpenvinoNetwork(request, _dim(request, spec, file), spec)


def compile_model(file: Path, spec: Preprocessing, threads: int, **settings: Any) -> "CompiledModel":
    """Compile a network for this machine's CPU; raise a PokeflowError if it breaks the contract or cannot run.

    Args:
        file: The network, in any format that OpenVINO reads.
        spec: Preprocessing that sets the size of the graph's input.
        threads: Number of threads; 0 uses every core.
        settings: Further properties of OpenVINO, which override ``SETTINGS``.

    """
    model = read(file)
    _require_signature(model, spec, file)
    thread_settings = {"INFERENCE_NUM_THREADS": threads} if threads else {}
    try:
        return openvino.Core().compile_model(model, "CPU", {**SETTINGS, **thread_settings, **settings})
    except RuntimeError as error:
        raise PokeflowError(
            f"{file}: not a network that {FRAMEWORK} can run ({_cause(error)}). Export it again."
        ) from error


def read(file: Path) -> "Model":
    """Read a network's graph; raise a PokeflowError if the file is missing or not a network."""
    if not file.is_file():
        raise PokeflowError(f"{file}: no such network. Create the model again.")
    try:
        return openvino.Core().read_model(file)
    except RuntimeError as error:
        raise PokeflowError(
            f"{file}: not a network that {FRAMEWORK} can open ({_cause(error)}). Compile it again."
        ) from error


def _cause(error: RuntimeError) -> str:
    """Return the cause from OpenVINO's message, without the locations in its source code that precede it."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return causes[0] if causes else str(error).strip()


def _require_signature(model: "Model", spec: Preprocessing, file: Path) -> None:
    inputs, outputs = [list(map(_describe_port, ports)) for ports in (model.inputs, model.outputs)]
    expected = f"{INPUT}: f32[?,3,{spec.size},{spec.size}]", f"{OUTPUT}: f32[?,"
    if inputs != [expected[0]] or len(outputs) != 1 or not outputs[0].startswith(expected[1]):
        raise PokeflowError(
            f"{file}: has inputs {', '.join(inputs)} and outputs {', '.join(outputs)}; must have one input "
            f"{expected[0]} and one output {expected[1]}D], ? being a dynamic batch. Export it again."
        )


def _describe_port(port: Any) -> str:
    names = "/".join(sorted(port.get_names()))
    return f"{names}: {port.get_element_type().to_string()}{port.get_partial_shape().to_string()}"


def _dim(request: "InferRequest", spec: Preprocessing, file: Path) -> int:
    def run(images: "np.ndarray") -> Any:
        try:
            return request.infer({INPUT: images})[OUTPUT]
        except RuntimeError as error:
            raise PokeflowError(f"{file}: cannot be run on a batch of 2 ({_cause(error)}). Export it again.") from error

    return embedding_dim(run, spec, file)
