"""Read model scripts: an unknown command or argument is an error."""

import fnmatch
import re
from typing import Any

from hailo_sdk_client.failures import BackendValueError

NUMBER, LAYER = r"-?\d+(?:\.\d+)?", r"(?:\{[\w*]+(?:/[\w*]+)?\}|\w+(?:/\w+)?)"
TRIPLE = rf"\[({NUMBER}), ({NUMBER}), ({NUMBER})\]"
COMMANDS = {
    "normalization": re.compile(rf"\w+ = normalization\({TRIPLE}, {TRIPLE}\)"),
    "calibration": re.compile(r"model_optimization_config\(calibration, batch_size=(\d+), calibset_size=(\d+)\)"),
    "flavor": re.compile(r"model_optimization_flavor\(optimization_level=([0-4]), compression_level=([0-5])\)"),
    "precision": re.compile(rf"quantization_param\(({LAYER}), precision_mode=(a8_w8|a8_w4|a16_w16)\)"),
    "bias": re.compile(rf"quantization_param\(({LAYER}), bias_mode=(double_scale_initialization)\)"),
    "post": re.compile(
        r"post_quantization_optimization\((bias_correction|finetune|adaround), policy=(enabled|disabled)\)"
    ),
    "performance": re.compile(r"performance_param\(compiler_optimization_level=(max)\)"),
}


def require_layers(text: str, name: str, layers: set[str]) -> None:
    """Raise an error for a layer that the network ``name`` has not, or a pattern that matches none."""
    for line in text.splitlines():
        match = COMMANDS["precision"].fullmatch(line) or COMMANDS["bias"].fullmatch(line)
        if match is None:
            continue
        layer_name = match[1].strip("{}")
        scope, _, layer = layer_name.rpartition("/")
        if scope not in ("", name) or not fnmatch.filter(layers, layer):
            raise BackendValueError(f"Layer {layer_name} of the model script is not in the network {name}")


def read(text: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"calibset_size": 64, "level": 2, "mean": None, "std": None, "off": []}
    for line in text.splitlines():
        kind, match = next(((k, m) for k, p in COMMANDS.items() if (m := p.fullmatch(line))), ("", None))
        if match is None:
            raise BackendValueError(f"The model script cannot be parsed: {line!r}")
        if kind == "normalization":
            numbers = [float(value) for value in match.groups()]
            settings |= {"mean": numbers[:3], "std": numbers[3:]}
        elif kind == "calibration":
            settings["calibset_size"] = int(match[2])
        elif kind == "flavor":
            settings["level"] = int(match[1])
        elif kind == "post" and match[2] == "disabled":
            settings["off"].append(match[1])
    return settings
