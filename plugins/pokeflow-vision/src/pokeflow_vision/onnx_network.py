"""The contract of an ONNX graph, and the only function that opens a network with ONNX Runtime.

A graph takes ``image``, float32 N×3×size×size, normalized, and returns ``embedding``, float32 N×D, not scaled to
length 1. Devices and servers get this file unchanged. The runtime is a parameter, because most of them have another
one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow.errors import PokeflowError
from pokeflow_vision.preprocessing import Preprocessing, normalize

if TYPE_CHECKING:
    import numpy as np

ONNX, INPUT, OUTPUT = "model.onnx", "image", "embedding"
"""File name of a float32 network in its model's folder, and the names of its graph's input and output."""


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """An opened ONNX network; ``session`` is an ``onnxruntime.InferenceSession``, ``dim`` an embedding's length."""

    session: Any
    dim: int
    spec: Preprocessing

    def prepare(self, squares: "np.ndarray") -> "np.ndarray":
        """Convert uint8 N×size×size×3 RGB to the network's input, float32 N×3×size×size, normalized."""
        return normalize(squares, self.spec)

    def __call__(self, prepared: "np.ndarray") -> "np.ndarray":
        """Return the embeddings of prepared pictures, float32 N×dim, not scaled to length 1."""
        import numpy as np

        return np.asarray(self.session.run([OUTPUT], {INPUT: prepared})[0])


def open_network(runtime: Any, folder: Path, spec: Preprocessing, threads: int) -> OnnxNetwork:
    """Open a folder's network and run it once, on two pictures of noise.

    Args:
        runtime: The module ``onnxruntime``.
        folder: A model's folder, which holds ``model.onnx``.
        spec: The preprocessing that the network was trained with.
        threads: Number of threads within an operator; 0 uses every core.

    Raises:
        PokeflowError: The file is missing, cannot be opened or run, or breaks the graph's contract.

    """
    file = folder / ONNX
    if not file.is_file():
        raise PokeflowError(f"{file}: no such network. Create the model again.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings concern speed only, and would go to stderr
    # Spinning threads would slow other threads on the machine, a server's own ones first.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    errors = runtime_errors(runtime)
    try:
        session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except errors as error:
        message = f"not a network that ONNX Runtime {runtime.__version__} can open"
        raise PokeflowError(f"{file}: {message} ({error}).") from error
    _require_signature(session, spec, file)

    def run(images: "np.ndarray") -> Any:
        try:
            return session.run([OUTPUT], {INPUT: images})[0]
        except errors as error:
            raise PokeflowError(f"{file}: cannot be run on a batch of 2 ({error}). Export it again.") from error

    return OnnxNetwork(session, embedding_dim(run, spec, file), spec)


def runtime_errors(runtime: Any) -> tuple[type[Exception], ...]:
    """Return the exceptions of ONNX Runtime for an unusable network; they share no base class of their own."""
    faults = runtime.capi.onnxruntime_pybind11_state
    names = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")
    return tuple(getattr(faults, name) for name in (*names, "NotImplemented", "RuntimeException"))


def embedding_dim(run: Callable[["np.ndarray"], Any], spec: Preprocessing, file: Path) -> int:
    """Return the length of a network's embeddings, from a run on two pictures of noise.

    Args:
        run: Runs the network on float32 2×3×size×size, and raises a PokeflowError if that fails.
        spec: The preprocessing that the network was trained with.
        file: The network's file, for error messages.

    Raises:
        PokeflowError: The output is not one embedding per picture, or is not finite.

    """
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (2, spec.size, spec.size, 3), np.uint8)
    embeddings = np.asarray(run(normalize(noise, spec)))
    if embeddings.ndim != 2 or len(embeddings) != 2:
        raise PokeflowError(
            f"{file}: returns {list(embeddings.shape)} for a batch of 2; it must be [batch, D]. Export it again."
        )
    if not np.isfinite(embeddings).all():
        raise PokeflowError(f"{file}: returns embeddings that are not finite (NaN or infinity). Train it again.")
    return int(embeddings.shape[1])


def _require_signature(session: Any, spec: Preprocessing, file: Path) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    signature = [f"{i.name}: {i.type}{i.shape}" for i in inputs], [o.name for o in outputs]
    expected = f"one input {INPUT!r}: float32 [batch, 3, {spec.size}, {spec.size}] and one output {OUTPUT!r}"
    is_valid = (
        [i.name for i in inputs] == [INPUT]
        and [o.name for o in outputs] == [OUTPUT]
        and inputs[0].type == outputs[0].type == "tensor(float)"
        and list(inputs[0].shape[1:]) == [3, spec.size, spec.size]
        and not isinstance(inputs[0].shape[0], int)
    )
    if not is_valid:
        raise PokeflowError(
            f"{file}: has inputs {', '.join(signature[0])} and outputs {', '.join(signature[1])}; "
            f"must have {expected}, with a dynamic batch. Export it again."
        )
