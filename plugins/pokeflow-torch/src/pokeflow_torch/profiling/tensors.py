"""Statistics of a network's weights, gradients and activations in one step, layer by layer."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardtanh, nn.Threshold)
"""Layers whose unit is dead if its output is never above 0."""
_PASSING = (nn.Identity, nn.Dropout, nn.Flatten)

Row = dict[str, float | int | str | None]


@dataclass(slots=True)
class TensorStatistics:
    """Collected statistics: one row per weight, per gradient and per activation of a layer."""

    weights: list[Row] = field(default_factory=list)
    gradients: list[Row] = field(default_factory=list)
    activations: list[Row] = field(default_factory=list)


@contextmanager
def activations(network: nn.Module, statistics: TensorStatistics) -> Iterator[None]:
    """Record the first output of each leaf layer in ``seen.activations`` within the context."""
    recorded_layers: set[str] = set()
    hooks = []

    def hook(name: str, layer: nn.Module) -> Any:
        def record(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and name not in recorded_layers:
                recorded_layers.add(name)
                statistics.activations.append(
                    {"layer": name, "kind": type(layer).__name__, **_activation(layer, output)}
                )

        return record

    for name, layer in network.named_modules():
        if next(layer.children(), None) is None and not isinstance(layer, _PASSING):
            hooks.append(layer.register_forward_hook(hook(name, layer)))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


@torch.no_grad()
def weights_and_gradients(learner: nn.Module, scale: float, statistics: TensorStatistics) -> None:
    """Record the statistics of each trainable weight and of its gradient.

    Args:
        learner: The module after its backward pass.
        scale: Loss scale of mixed precision, by which the gradients are divided first.
        statistics: Receives one row per weight and one per gradient.

    """
    for name, weight in learner.named_parameters():
        if not weight.requires_grad:
            continue
        labels: Row = {"weight": name, "shape": _shape(weight)}
        weight_row = _statistics(weight)
        statistics.weights.append({**labels, **weight_row})
        if weight.grad is None:
            statistics.gradients.append({**labels, **dict.fromkeys(weight_row), "to_weight": None})
            continue
        gradient_row = _statistics(weight.grad / scale)
        norm, weight_norm = gradient_row["norm"], weight_row["norm"]
        ratio = (
            norm / weight_norm
            if isinstance(norm, float) and isinstance(weight_norm, float) and weight_norm > 0
            else None
        )
        statistics.gradients.append({**labels, **gradient_row, "to_weight": ratio})


@torch.no_grad()
def _activation(layer: nn.Module, output: Tensor) -> Row:
    values = output.detach().float()
    dim = 1 if values.ndim in (2, 4) else values.ndim - 1
    channels = values.transpose(0, dim).flatten(1) if values.ndim > 1 else values[None]
    dead = int((channels.amax(1) <= 0).sum()) if isinstance(layer, RECTIFIERS) else None
    return {"shape": _shape(values), **_statistics(values), "channels": len(channels), "dead_channels": dead}


def _statistics(tensor: Tensor) -> Row:
    """Return mean, standard deviation, extremes, norm, share of zeros, and number of values that are not finite.

    All but the last are taken over the finite values. A statistic is None if no value is finite, or if it is itself
    not finite.
    """
    values = tensor.detach().float().flatten()
    finite = values[torch.isfinite(values)]
    none = len(finite) == 0
    row: Row = {
        "mean": None if none else float(finite.mean()),
        "std": None if none else float(finite.std(correction=0)),
        "min": None if none else float(finite.min()),
        "max": None if none else float(finite.max()),
        "norm": None if none else float(torch.linalg.vector_norm(finite, dtype=torch.float64)),
        "zeros": None if none else float((finite == 0).float().mean()),
        "not_finite": len(values) - len(finite),
    }
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape))
