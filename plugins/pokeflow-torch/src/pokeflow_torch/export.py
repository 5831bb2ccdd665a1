"""Export of a network to ONNX, verified against the original network."""

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
"""Largest difference of any value of the embedding, relative to the length of the embedding."""


class _Embedding(nn.Module):
    """A network that returns the embedding only; the tokens are needed for training alone."""

    def __init__(self, network: Embedder) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        embedding: Tensor = self.network(image)[0]
        return embedding


def write(file: Path, network: Embedder, size: int) -> None:
    """Write ``network`` as ONNX: "image" float32 [batch, 3, S, S] → "embedding" float32 [batch, D], batch dynamic.

    ONNX's reference evaluator then runs the graph with another batch size than the one that it was traced with.

    Raises:
        PokeflowError: If its embeddings differ from PyTorch's by more than ``TOLERANCE``.

    """
    model = _Embedding(network).eval()
    example = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        # Hide the exporter's own deprecations and notes; the result is compared below.
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
    _remove_metadata(file)
    compare(file, model, size)


def _remove_metadata(file: Path) -> None:
    """Remove the metadata that the exporter adds to a graph, such as source paths of this machine.

    Without it the same network gives the same bytes on every machine.
    """
    import onnx

    model = onnx.load(file)
    graphs = [model.graph, *model.functions]
    for holder in (model, *graphs, *(node for graph in graphs for node in graph.node)):
        del holder.metadata_props[:]
    onnx.save(model, file)


def compare(file: Path, model: nn.Module, size: int) -> None:
    """Compare the embeddings of the graph in ``file`` and of ``model`` for three random images of ``size`` pixels.

    Raises:
        PokeflowError: If shapes differ, or any value by more than ``TOLERANCE`` of the longest embedding.

    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images).numpy()
    graph = onnx.load(file)
    onnx.checker.check_model(graph)
    outputs: Any = ReferenceEvaluator(graph).run(None, {"image": images.numpy()})
    embeddings = outputs[0]
    if embeddings.shape != expected.shape:
        raise PokeflowError(
            f"{file}: the graph's embedding has shape {embeddings.shape}, the network's {expected.shape}."
        )
    error = float(np.max(np.abs(embeddings - expected)) / np.linalg.norm(expected, axis=1).max())
    if not error <= TOLERANCE:
        raise PokeflowError(
            f"{file}: the graph's embedding differs by {error:.1e} of its length; {TOLERANCE:g} is the limit."
        )
