"""The exported network: an ONNX graph that was compared with what it was made from."""

import io
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pokeflow.errors import PokeflowError
from pokeflow_torch.networks import Embedder

OPSET = 18
TOLERANCE = 1e-3
"""The largest difference of any number of the embedding, as a share of the embedding's length."""


class _Embedding(nn.Module):
    """The embedding alone: the tokens were for training."""

    def __init__(self, network: Embedder) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.network(image)[0]
        return embedding


def write(file: Path, network: Embedder, size: int) -> None:
    """Write ``network`` as ONNX: "image" float32 [batch, 3, S, S] → "embedding" float32 [batch, D], batch dynamic.

    The graph is run by ONNX's reference evaluator, on another batch size than it was traced with; PokeflowError if
    its numbers are not PyTorch's.
    """
    model = _Embedding(network).eval()
    example = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        # The exporter's own deprecations and notes; what matters of its work is compared below.
        warnings.simplefilter("ignore")
        for name in ("torch.onnx", "onnx_ir", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            (example,),
            file,
            input_names=["image"],
            output_names=["embedding"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1, max=65536)}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    _forget_origin(file)
    compare(file, model, size)


def _forget_origin(file: Path) -> None:
    """Take out of a graph what its exporter tells of this machine, such as paths of sources: it is no part of a model.

    Then the same network gives the same bytes wherever it is exported.
    """
    import onnx

    model = onnx.load(file)
    graphs = [model.graph, *model.functions]
    for holder in (model, *graphs, *(node for graph in graphs for node in graph.node)):
        del holder.metadata_props[:]
    onnx.save(model, file)


def compare(file: Path, model: nn.Module, size: int) -> None:
    """PokeflowError unless the graph in ``file`` gives the embedding that ``model`` gives, for three images."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = model(images).numpy()
    graph = onnx.load(file)
    onnx.checker.check_model(graph)
    outputs: Any = ReferenceEvaluator(graph).run(None, {"image": images.numpy()})
    got = outputs[0]
    if got.shape != wanted.shape:
        raise PokeflowError(f"{file}: the graph's embedding is {got.shape}, the network's {wanted.shape}.")
    off = float(np.max(np.abs(got - wanted)) / np.linalg.norm(wanted, axis=1).max())
    if not off <= TOLERANCE:
        raise PokeflowError(f"{file}: the graph's embedding is off by {off:.1e} of its length; it can't be shipped.")
