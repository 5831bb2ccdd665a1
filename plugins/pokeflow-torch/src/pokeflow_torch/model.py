"""Output of a training task: the files of the model and the facts for its record."""

from collections.abc import Mapping
from typing import Any

import torch

from pokeflow.types import Input, Task
from pokeflow_torch import export, networks, telemetry
from pokeflow_torch.loop import FitResult, write_history
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Network, describe_weights
from pokeflow_vision import retrieval
from pokeflow_vision.dataset import Dataset


def write_model(
    task: Task, fit_result: FitResult, data: Dataset, network: Network, metrics: Mapping[str, float | None]
) -> None:
    """Write the trained model to ``task.output``; only the first process may call this.

    The files are ``weights.pt``, ``network.json``, the preprocessing, ``history.jsonl`` and ``model.onnx``. The last
    row of the history also gets the ``metrics`` that are not None, and so does TensorBoard.

    Args:
        task: The running task.
        fit_result: The trained network and its history; the network is moved to the CPU.
        data: The data set, whose preprocessing is part of the model.
        network: Parameters that the network was built from.
        metrics: Final metrics on the val queries; None is an unknown metric.

    Raises:
        PokeflowError: If the exported graph does not reproduce the network's embedding.

    """
    size = data.preprocessing.size
    fit_result.network.cpu().to(memory_format=torch.contiguous_format)
    networks.save(task.output, fit_result.network, network, size)
    data.preprocessing.write(task.output)
    final_metrics = {name: value for name, value in metrics.items() if value is not None}
    last_row = {**fit_result.history[-1], **final_metrics}
    write_history(task, [*fit_result.history[:-1], last_row])
    telemetry.write_final_metrics(task.work, last_row)
    export.write(task.output / "model.onnx", fit_result.network, size)


def facts(network: Embedder, data: Dataset, params: Network, parent: Input | None = None) -> dict[str, Any]:
    """Return the facts of a model for its record: architecture, sizes, framework, preprocessing and protocol.

    Args:
        network: The trained network.
        data: The data set.
        params: Parameters that the network was built from.
        parent: The model whose weights the training started from; None if it started from those of ``params``.

    """
    size = data.preprocessing.size
    return {
        "architecture": params.name,
        "initial_weights": f"the weights of {parent.record.task}" if parent else describe_weights(params),
        "parameters": networks.parameters(network),
        "parameters_counted": "backbone and embedding head, as shipped",
        "embedding_dim": network.embedding_dim,
        "input_size": f"{size}x{size}",
        "framework": networks.framework(),
        "preprocessing": data.preprocessing.hash,
        "protocol": retrieval.protocol(data, "val"),
    }


def reasons(metrics: dict[str, float | None]) -> dict[str, str]:
    """Return, for each metric that is None, the reason why it is unknown."""
    unknown = {"artwork_top1_accuracy": "the data set does not say which cards share their artwork"}
    return {name: unknown.get(name, "not measured") for name, value in metrics.items() if value is None}
