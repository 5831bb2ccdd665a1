"""Test the plugin: light imports, validation of parameters, and its target's YAML."""

import dataclasses
import importlib.resources
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

import pokeflow_onnxruntime as plugin
from pokeflow.types import load_params

HEAVY = ("onnxruntime", "onnx", "numpy", "PIL", "torch", "google.protobuf")


def test_importing_the_plugin_loads_no_heavy_packages():
    code = (
        f"import sys, pokeflow_onnxruntime as p; p.pokeflow_backends(); print([m for m in {HEAVY} if m in sys.modules])"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=path)
    assert done.stdout.strip() == "[]"


def test_plugin_has_four_stages(backends):
    assert set(backends) == {"compile", "benchmark", "profile", "recognize"}
    assert {backend.name for backend in backends.values()} == {"onnxruntime"}


def test_target_names_every_parameter_with_its_default(backends):
    package = importlib.resources.files(plugin.pokeflow_config_package())
    target = OmegaConf.create((package / "target" / "cpu.yaml").read_text())
    assert target.name == "cpu"
    for stage in ("compile", "benchmark", "profile"):
        assert target[stage].backend == "onnxruntime"
        defaults = dataclasses.asdict(load_params(backends[stage])())
        params = OmegaConf.to_container(target[stage].params)
        assert params == {name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()}


@pytest.mark.parametrize(
    ("stage", "params", "faults"),
    [
        ("compile", {}, []),
        ("compile", {"percentile": 100.5}, ["percentile"]),
        ("compile", {"percentile": 0.99}, ["percentile"]),
        ("compile", {"calibration_images": 0, "batch_size": -1}, ["calibration_images", "batch_size"]),
        ("benchmark", {}, []),
        ("benchmark", {"runs": 0, "warmup": -1, "threads": 0}, ["runs", "warmup", "threads"]),
        ("benchmark", {"max_seconds": 0.0}, ["max_seconds"]),
        ("benchmark", {"max_seconds": float("nan")}, ["max_seconds"]),
        ("benchmark", {"batch_sizes": (8,)}, ["batch_sizes"]),
        ("benchmark", {"batch_sizes": ()}, ["batch_sizes"]),
        ("benchmark", {"batch_sizes": (1, 1)}, ["batch_sizes"]),
        ("benchmark", {"batch_sizes": (1, 0)}, ["batch_sizes"]),
        ("recognize", {"image": __file__}, []),
        ("recognize", {"image": "absent.png", "top": 0}, ["top", "image"]),
        ("recognize", {"image": "."}, ["image"]),
    ],
)
def test_invalid_parameters_are_reported(backends, stage, params, faults):
    backend = backends[stage]
    assert [name for name, _ in backend.faults(load_params(backend)(**params))] == faults
