"""The one place that opens a network with OpenVINO: its threads, its precision, and the contract its graph must keep.

Small devices get this very file: of pokeflow it knows what they have, nothing else.
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

# Importing OpenVINO counts that in ~/intel and may tell its maker; without this package of its own it does neither.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how an import is barred
import openvino  # noqa: E402

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest, Model

FILE = "model.xml"
FILES = (FILE, "model.bin")
"""The graph and its weights."""
FRAMEWORK = f"OpenVINO {openvino.__version__.partition('-')[0]}"
SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    # Left to itself, it computes floats in 16 bits where the machine is faster so, and answers differ between machines.
    "INFERENCE_PRECISION_HINT": "f32",
    # Threads bound to cores would wait for whoever else is bound to these.
    "ENABLE_CPU_PINNING": False,
}


@dataclass(frozen=True, slots=True)
class OpenvinoNetwork:
    """An opened network: uint8 N×size×size×3 prepared to float32 N×3×size×size; float32 N×dim out, not scaled."""

    request: "InferRequest"
    dim: int
    spec: Preprocessing
    # Asked twice at once, a request gives one the other's answer.
    _free: Lock = field(default_factory=Lock)

    def prepare(self, squares: "np.ndarray") -> "np.ndarray":
        """Normalised images of resized pictures."""
        return normalize(squares, self.spec)

    def __call__(self, prepared: "np.ndarray") -> "np.ndarray":
        """Embeddings of normalised images."""
        with self._free:
            return np.asarray(self.request.infer({INPUT: prepared}, share_inputs=True)[OUTPUT])


def opened(folder: Path, spec: Preprocessing, threads: int) -> OpenvinoNetwork:
    """Open a compiled model's network and try it; PokeflowError where it is not what its folder must hold."""
    return opened_file(folder / FILE, spec, threads)


def opened_file(file: Path, spec: Preprocessing, threads: int) -> OpenvinoNetwork:
    """The same of a network in any format that OpenVINO reads, ONNX among them; 0 threads: every core."""
    request = compiled(file, spec, threads).create_infer_request()
    return OpenvinoNetwork(request, _dim(request, spec, file), spec)


def compiled(file: Path, spec: Preprocessing, threads: int, **settings: Any) -> "CompiledModel":
    """A network made ready for this machine's CPU; PokeflowError where it breaks the contract."""
    model = read(file)
    _require_signature(model, spec, file)
    bounded = {"INFERENCE_NUM_THREADS": threads} if threads else {}
    try:
        return openvino.Core().compile_model(model, "CPU", {**SETTINGS, **bounded, **settings})
    except RuntimeError as error:
        raise PokeflowError(f"{file}: not a network that {FRAMEWORK} can run ({_first(error)}).") from error


def read(file: Path) -> "Model":
    """A network's graph; PokeflowError where there is none."""
    if not file.is_file():
        raise PokeflowError(f"{file}: no such network. Make the model again.")
    try:
        return openvino.Core().read_model(file)
    except RuntimeError as error:
        raise PokeflowError(f"{file}: not a network that {FRAMEWORK} can open ({_first(error)}).") from error


def _first(error: RuntimeError) -> str:
    """What is wrong; before it stand the places in OpenVINO's source that found it."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return told[0] if told else str(error).strip()


def _require_signature(model: "Model", spec: Preprocessing, file: Path) -> None:
    inputs, outputs = [list(map(_told, ports)) for ports in (model.inputs, model.outputs)]
    expected = f"{INPUT}: f32[?,3,{spec.size},{spec.size}]", f"{OUTPUT}: f32[?,"
    if inputs != [expected[0]] or len(outputs) != 1 or not outputs[0].startswith(expected[1]):
        raise PokeflowError(
            f"{file}: has inputs {', '.join(inputs)} and outputs {', '.join(outputs)}; must have one input "
            f"{expected[0]} and one output {expected[1]}D], ? being a dynamic batch. Export it again."
        )


def _told(port: Any) -> str:
    names = "/".join(sorted(port.get_names()))
    return f"{names}: {port.get_element_type().to_string()}{port.get_partial_shape().to_string()}"


def _dim(request: "InferRequest", spec: Preprocessing, file: Path) -> int:
    def run(images: "np.ndarray") -> Any:
        try:
            return request.infer({INPUT: images})[OUTPUT]
        except RuntimeError as error:
            raise PokeflowError(f"{file}: cannot be run on a batch of 2 ({_first(error)}). Export it again.") from error

    return embedding_dim(run, spec, file)
