"""Checks of a network before compilation: one input of fixed shape, supported operators, finite weights."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import TensorProto, numpy_helper, shape_inference, version_converter

from pokeflow import PokeflowError
from pokeflow_vision.network import INPUT, OUTPUT
from pokeflow_vision.preprocessing import Preprocessing

OPSETS = range(11, 18)
"""ONNX opsets that the parser supports."""
_OPERATORS = (
    "Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose DepthToSpace Div Dropout "
    "Elu Equal Erf Exp Expand Flatten Gemm GlobalAveragePool GlobalMaxPool Greater HardSigmoid HardSwish Identity "
    "InstanceNormalization LayerNormalization LeakyRelu Less Log MatMul Max MaxPool Min Mul Neg PRelu Pad Pow "
    "ReduceL2 ReduceMax ReduceMean ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus SpaceToDepth "
    "Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Upsample"
)
OPERATORS = frozenset(_OPERATORS.split())
"""Operators that the parser is known to support; it may still reject a graph of them."""
INSTEAD = {
    "Einsum": "Write it as MatMul or Conv.",
    "Gelu": "Export with an opset that expresses it with Erf, or use HardSwish.",
    "If": "Export one branch.",
    "Loop": "Unroll it.",
    "LpNormalization": "Leave normalization to the host, which scales embeddings.",
    "NonMaxSuppression": "Run it on the host.",
    "QuantizeLinear": "Use the float32 network: the compiler quantizes it.",
    "DequantizeLinear": "Use the float32 network: the compiler quantizes it.",
}
MAX_FAULTS = 12
"""Maximum number of faults in a message; a wrong graph often has hundreds of the same kind."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked network: embedding dimension, opset, number of float32 parameters, and count of each operator."""

    dim: int
    opset: int
    parameters: int
    operators: dict[str, int]


def check_and_write(source: Path, target: Path, spec: Preprocessing, allowed: Collection[str] = ()) -> Graph:
    """Check a network and write it with batch size 1 to ``target``, with all external weights in the same file.

    Args:
        source: The ONNX network.
        target: File to write.
        spec: Preprocessing, which has the input's size.
        allowed: Operators to accept in addition to ``OPERATORS``.

    Raises:
        PokeflowError: If the network is invalid; the message names the nodes at fault, at most ``MAX_FAULTS``.

    """
    model = _load(source)
    faults = [*_of_operators(model, OPERATORS | set(allowed)), *_of_signature(model, spec), *_of_weights(model)]
    if not faults:
        model = _lower(model, source)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        model = _infer(model, source)
        faults += _of_shapes(model)
    if faults:
        more = f"\n  … and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        listing = "".join(f"\n  {fault}" for fault in faults[:MAX_FAULTS])
        raise PokeflowError(f"{source}: the Dataflow Compiler cannot compile this network:{listing}{more}")
    onnx.save(model, target)
    return Graph(
        dim=_shape(model.graph.output[0])[-1] or 0,
        opset=_opset(model),
        parameters=sum(int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT),
        operators=_count(model),
    )


def _load(file: Path) -> onnx.ModelProto:
    if not file.is_file():
        raise PokeflowError(f"{file}: no such network. Run the model's task again with force=[MODEL].")
    try:
        # With a path the checker rejects weights outside of the model's folder.
        onnx.checker.check_model(file)
        return onnx.load(file)
    except (onnx.checker.ValidationError, DecodeError, ValueError, OSError) as error:
        raise PokeflowError(f"{file}: not a valid ONNX network ({error}). Export it again.") from error


def _lower(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    """Return the network, converted to the parser's latest opset if it has a later one: exporters are ahead of it."""
    if _opset(model) <= OPSETS[-1]:
        return model
    try:
        converted = version_converter.convert_version(model, OPSETS[-1])
        for node in converted.graph.node:
            # The converter keeps this attribute of opset 18; its value 0 is the behaviour of older opsets.
            attributes = [a for a in node.attribute if a.name != "noop_with_empty_axes" or a.i]
            del node.attribute[:]
            node.attribute.extend(attributes)
        onnx.checker.check_model(converted)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        first = str(error).strip().splitlines()[0]
        raise PokeflowError(
            f"{source}: has opset {_opset(model)} and cannot be converted to {OPSETS[-1]} ({first}). Export it with "
            f"opset {OPSETS[-1]}."
        ) from error
    return converted


def _infer(model: onnx.ModelProto, source: Path) -> onnx.ModelProto:
    try:
        model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model)
        return model
    except (shape_inference.InferenceError, onnx.checker.ValidationError, ValueError) as error:
        raise PokeflowError(
            f"{source}: its shapes are inconsistent with batch size 1 ({error}). Export it with a dynamic batch."
        ) from error


def _name(node: onnx.NodeProto) -> str:
    return repr(node.name or f"(of {', '.join(node.output)})")


def _of_operators(model: onnx.ModelProto, supported: Collection[str]) -> Iterator[str]:
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"node {_name(node)}: {node.domain}.{node.op_type} is not in a standard domain. Export standard ONNX."
        elif node.op_type not in supported:
            hint = INSTEAD.get(
                node.op_type, "Replace it by other operators, or list it in operators if the compiler supports it."
            )
            yield f"node {_name(node)}: operator {node.op_type} is not known to be supported. {hint}"


def _of_signature(model: onnx.ModelProto, spec: Preprocessing) -> Iterator[str]:
    graph, weights = model.graph, {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    expected = [None, 3, spec.size, spec.size]
    if [value.name for value in inputs] != [INPUT] or inputs[0] is not graph.input[0]:
        yield f"its inputs are {', '.join(v.name for v in inputs) or 'none'}; must be one, {INPUT!r}. Export it again."
    elif _shape(inputs[0])[1:] != expected[1:] or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        yield (
            f"input {INPUT!r} is {_shape(inputs[0])}; must be float32 [batch, 3, {spec.size}, {spec.size}]. Export it "
            "again."
        )
    if [value.name for value in graph.output] != [OUTPUT]:
        yield (
            f"its outputs are {', '.join(v.name for v in graph.output) or 'none'}; must be one, {OUTPUT!r}. Export it "
            "again."
        )
    if _opset(model) < OPSETS[0]:
        yield f"opset {_opset(model)}: {OPSETS[0]} to {OPSETS[-1]} are supported. Export it with opset {OPSETS[-1]}."


def _of_weights(model: onnx.ModelProto) -> Iterator[str]:
    for tensor in model.graph.initializer:
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
            continue
        if not np.isfinite(numpy_helper.to_array(tensor)).all():
            yield f"weight {tensor.name!r} contains NaN or infinity. Train the model again."


def _of_shapes(model: onnx.ModelProto) -> Iterator[str]:
    shapes = {v.name: _shape(v) for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    initializers = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        for output in node.output:
            if not output or output in initializers:
                continue
            shape = shapes.get(output)
            if shape is None or any(not size or size < 0 for size in shape):
                sizes = "no shape" if shape is None else f"[{', '.join(str(s or '?') for s in shape)}]"
                yield (
                    f"node {_name(node)}: {node.op_type} gives {output!r} of {sizes}; every shape must be fixed. "
                    "Remove dynamic operations."
                )
    result = _shape(model.graph.output[0])
    if len(result) != 2 or result[0] != 1:
        yield f"output {OUTPUT!r} is {result}; must be [1, D]. Flatten it in the network."


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _opset(model: onnx.ModelProto) -> int:
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _count(model: onnx.ModelProto) -> dict[str, int]:
    kinds = [node.op_type for node in model.graph.node]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
