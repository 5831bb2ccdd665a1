"""Statistics of a network's weights, gradients and activations in one step, layer by layer."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardtanh, nn.Threshold)
"""Layers whose unit is dead when it gives nothing for any input."""
_PASSING = (nn.Identity, nn.Dropout, nn.Flatten)

Row = dict[str, float | int | str | None]


@dataclass(slots=True)
class Seen:
    """Rows of what was seen: one a weight, one a gradient, one a layer's activation."""

    weights: list[Row] = field(default_factory=list)
    gradients: list[Row] = field(default_factory=list)
    activations: list[Row] = field(default_factory=list)


@contextmanager
def activations(network: nn.Module, seen: Seen) -> Iterator[None]:
    """Within: what each layer gives, the first time it is asked, becomes a row."""
    told: set[str] = set()
    hooks = []

    def hook(name: str, layer: nn.Module) -> Any:
        def look(_layer: nn.Module, _given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and name not in told:
                told.add(name)
                seen.activations.append({"layer": name, "kind": type(layer).__name__, **_activation(layer, output)})

        return look

    for name, layer in network.named_modules():
        if next(layer.children(), None) is None and not isinstance(layer, _PASSING):
            hooks.append(layer.register_forward_hook(hook(name, layer)))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


@torch.no_grad()
def weights_and_gradients(learner: nn.Module, scale: float, seen: Seen) -> None:
    """A row of each weight and of its gradient, which still has the factor ``scale`` of mixed precision."""
    for name, weight in learner.named_parameters():
        if not weight.requires_grad:
            continue
        about: Row = {"weight": name, "shape": _shape(weight)}
        held = _spread(weight)
        seen.weights.append({**about, **held})
        if weight.grad is None:
            seen.gradients.append({**about, **dict.fromkeys(held), "to_weight": None})
            continue
        found = _spread(weight.grad / scale)
        norm, of = found["norm"], held["norm"]
        ratio = norm / of if isinstance(norm, float) and isinstance(of, float) and of > 0 else None
        seen.gradients.append({**about, **found, "to_weight": ratio})


@torch.no_grad()
def _activation(layer: nn.Module, output: Tensor) -> Row:
    values = output.detach().float()
    dim = 1 if values.ndim in (2, 4) else values.ndim - 1
    channels = values.transpose(0, dim).flatten(1) if values.ndim > 1 else values[None]
    dead = int((channels.amax(1) <= 0).sum()) if isinstance(layer, RECTIFIERS) else None
    return {"shape": _shape(values), **_spread(values), "channels": len(channels), "dead_channels": dead}


def _spread(tensor: Tensor) -> Row:
    """Mean, deviation, extremes, norm; the shares of zeros and of what is not finite. Of finite values, but the last.

    A figure is None where there is nothing to take it from.
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
