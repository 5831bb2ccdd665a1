"""A small float32 convolutional network that distinguishes the drawn cards, both as ONNX and in numpy."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokeflow_vision.network import INPUT, ONNX, OUTPUT
from pokeflow_vision.preprocessing import Preprocessing, normalize, to_square
from pokeflow_vision.testing.data import SPEC, draw_dataset

if TYPE_CHECKING:
    import numpy as np

DIM = 32
OPSET = 17
_POOL = 4
Weights = Mapping[str, "np.ndarray"]


@cache
def weights() -> Weights:
    """Return weights drawn from a fixed seed.

    The last bias centres the cards' embeddings on zero, so that the cosines of different cards differ clearly.
    """
    import numpy as np

    rng = np.random.default_rng(3)
    side = SPEC.size // 2 // _POOL
    shapes = {"conv1": (16, 3, 3, 3), "conv2": (32, 16, 3, 3), "linear": (32 * side * side, DIM)}
    values: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        fan_in = shape[0] if name == "linear" else np.prod(shape[1:])
        values[f"{name}.weight"] = rng.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)
        values[f"{name}.bias"] = np.zeros(shape[1] if name == "linear" else shape[0], np.float32)
    images = normalize(to_square(draw_dataset().references, SPEC), SPEC)
    return {**values, "linear.bias": -_forward(values, images).mean(axis=0)}


def reference_embeddings(pictures: "np.ndarray", spec: Preprocessing = SPEC) -> "np.ndarray":
    """Return the network's embeddings of uint8 N×H×W×3 RGB pictures, float32 N×32, computed by numpy alone."""
    return _forward(weights(), normalize(to_square(pictures, spec), spec))


def _forward(of: Weights, images: "np.ndarray") -> "np.ndarray":
    import numpy as np

    features = images
    for name, stride in (("conv1", 2), ("conv2", 1)):
        padded = np.pad(features, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
        sums = np.einsum("nchwij,ocij->nohw", windows, of[f"{name}.weight"], optimize=True)
        features = np.maximum(sums + of[f"{name}.bias"][:, None, None], 0)
    count, channels, side, _ = features.shape
    pooled = features.reshape(count, channels, side // _POOL, _POOL, side // _POOL, _POOL).mean(axis=(3, 5))
    return np.asarray(pooled.reshape(count, -1) @ of["linear.weight"] + of["linear.bias"], np.float32)


def model(of: Weights | None = None) -> Any:
    """Return the network as an ``onnx.ModelProto`` with a dynamic batch."""
    from onnx import TensorProto, helper, numpy_helper

    def convolution(name: str, source: str, target: str, stride: int) -> Any:
        names = [source, f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Conv", names, [target], name=name, pads=[1] * 4, strides=[stride] * 2)

    def node(kind: str, source: str, target: str, **more: Any) -> Any:
        return helper.make_node(kind, [source], [target], name=target, **more)

    nodes = [
        convolution("conv1", INPUT, "seen", 2),
        node("Relu", "seen", "seen.relu"),
        convolution("conv2", "seen.relu", "told", 1),
        node("Relu", "told", "told.relu"),
        node("AveragePool", "told.relu", "pooled", kernel_shape=[_POOL] * 2, strides=[_POOL] * 2),
        node("Flatten", "pooled", "flat"),
        helper.make_node("Gemm", ["flat", "linear.weight", "linear.bias"], [OUTPUT], name="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, SPEC.size, SPEC.size])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(value, name) for name, value in (of or weights()).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def write(folder: Path, of: Weights | None = None, spec: Preprocessing = SPEC) -> None:
    """Write the network as a training task does: ``model.onnx`` and ``preprocessing.json``."""
    (folder / ONNX).write_bytes(model(of).SerializeToString())
    spec.write(folder)


def with_nan() -> Weights:
    """Return the weights with one value replaced by NaN."""
    import numpy as np

    broken = weights()["conv1.weight"].copy()
    broken[0, 0, 1, 1] = np.nan
    return {**weights(), "conv1.weight": broken}
