"""What a training leaves: the model's folder, and what is worth telling of it."""

from collections.abc import Mapping
from typing import Any

import torch

from pokeflow.types import Task
from pokeflow_torch import export, networks, telemetry
from pokeflow_torch.loop import Fitted, write_history
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Network
from pokeflow_vision import retrieval
from pokeflow_vision.dataset import Dataset


def write_model(
    task: Task, fitted: Fitted, data: Dataset, network: Network, metrics: Mapping[str, float | None]
) -> None:
    """Leave the model's folder: graph, weights, description, preprocessing and history. The first process does."""
    size = data.preprocessing.size
    fitted.network.cpu().to(memory_format=torch.contiguous_format)
    networks.save(task.output, fitted.network, network, size)
    data.preprocessing.write(task.output)
    last = {name: value for name, value in metrics.items() if value is not None}
    end = {**fitted.history[-1], **last}
    write_history(task, [*fitted.history[:-1], end])
    telemetry.tell_end(task.work, end)
    export.write(task.output / "model.onnx", fitted.network, size)


def facts(network: Embedder, data: Dataset, architecture: str) -> dict[str, Any]:
    """What is worth telling of a model beside its figures."""
    size = data.preprocessing.size
    return {
        "architecture": architecture,
        "parameters": networks.parameters(network),
        "parameters_counted": "backbone and embedding head, as shipped",
        "embedding_dim": network.embedding_dim,
        "input_size": f"{size}x{size}",
        "framework": networks.framework(),
        "preprocessing": data.preprocessing.hash,
        "protocol": retrieval.protocol(data, "val"),
    }


def reasons(metrics: dict[str, float | None]) -> dict[str, str]:
    """Why a figure is unknown."""
    unknown = {"artwork_top1_accuracy": "the data set doesn't say which cards share their art"}
    return {name: unknown.get(name, "not measured") for name, value in metrics.items() if value is None}
