"""The operators of ONNX that the parser accepts, and the names of the layers that it creates."""

from typing import Any

from hailo_sdk_client.failures import UnsupportedModelError

LAYERS = {
    "Conv": "conv",
    "ConvTranspose": "deconv",
    "Gemm": "fc",
    "MatMul": "matmul",
    "AveragePool": "avgpool",
    "GlobalAveragePool": "avgpool",
    "MaxPool": "maxpool",
    "Softmax": "softmax",
    "LayerNormalization": "layer_normalization",
    "Resize": "resize",
    "Concat": "concat",
    "Add": "ew_add",
    "Mul": "ew_mult",
    "Sub": "ew_sub",
    "Div": "ew_div",
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceL2": "reduce_l2",
}
"""Operators that become a layer, and the layer's name: ``conv1`` is the first convolution."""
WITHIN = (
    "BatchNormalization Cast Clip Constant Dropout Elu Erf Exp Expand Flatten HardSigmoid HardSwish Identity LeakyRelu "
    "Log Neg PRelu Pad Pow Relu Reshape Shape Sigmoid Slice Softplus Split Sqrt Squeeze Tanh Transpose Unsqueeze"
)
"""Operators that are folded into a layer or change its shape alone."""


def layers_of(graph: Any) -> set[str]:
    """Return the layers of a graph; an operator that is neither a layer nor part of one is an error."""
    layers, counts = {"input_layer1", "output_layer1"}, dict.fromkeys(LAYERS.values(), 0)
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and node.op_type in LAYERS:
            kind = LAYERS[node.op_type]
            counts[kind] += 1
            layers.add(f"{kind}{counts[kind]}")
        elif node.domain not in ("", "ai.onnx") or node.op_type not in WITHIN.split():
            raise UnsupportedModelError(f"{node.op_type} operation is unsupported: node {node.name}.")
    return layers
