"""The one place that opens an ONNX network: its threads, and the contract its graph must keep."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from pokeflow import Input, PokeflowError, Task, progress
from pokeflow.images.preprocessing import Preprocessing, normalize, to_square

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

FILE = "model.onnx"
INPUT, OUTPUT = "image", "embedding"
MODEL_STAGES = ("train", "distill", "compile")
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
class Network:
    """An opened network: float32 N×3×size×size in, float32 N×dim out, not L2-normalised."""

    session: "InferenceSession"
    dim: int

    def __call__(self, images: "np.ndarray") -> "np.ndarray":
        """Embeddings of normalised images."""
        return np.asarray(self.session.run([OUTPUT], {INPUT: images})[0])


def model_input(task: Task) -> Input:
    """The first input that is a model; PokeflowError where there is none."""
    for item in task.inputs:
        if item.record.stage in MODEL_STAGES:
            return item
    raise PokeflowError(f"{task.name}: needs a model to work on, and none is among its inputs. Give it a parent.")


def opened(file: Path, spec: Preprocessing, threads: int) -> Network:
    """Open a network and try it; PokeflowError where it is not what a model folder must hold.

    ``threads`` are those within an operator; 0 is every core. Waiting threads sleep: spinning ones would slow
    whoever shares the machine.
    """
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
    return Network(session, _tried(session, spec, file))


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
    _require_finite(embedding, file)
    return int(embedding.shape[1])


def _require_finite(embeddings: "np.ndarray", where: object) -> None:
    if not np.isfinite(embeddings).all():
        raise PokeflowError(f"{where}: gives embeddings that are not finite (NaN or infinity). Train it again.")


def network_input(images: "np.ndarray", rows: Sequence[int], spec: Preprocessing) -> "np.ndarray":
    """These rows of uint8 N×H×W×3 pictures as float32 n×3×size×size."""
    return normalize(to_square(images[list(rows)], spec), spec)


def embed(
    network: Network, images: "np.ndarray", rows: Sequence[int], spec: Preprocessing, label: str, *, batch: int = 32
) -> "np.ndarray":
    """Embeddings of these rows, float32 n×dim as the network gives them; only a batch is in memory at once."""
    embeddings = np.empty((len(rows), network.dim), np.float32)
    with progress.bar(label, len(rows)) as advance:
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            embeddings[start : start + batch] = network(network_input(images, part, spec))
            advance(len(part))
    _require_finite(embeddings, label)
    return embeddings


def size_mb(file: Path) -> float:
    """10^6 bytes of a network: its file, and those beside it that hold its weights (``model.onnx.data``)."""
    return sum(part.stat().st_size for part in (file, *file.parent.glob(f"{file.name}[._]*"))) / 1e6
