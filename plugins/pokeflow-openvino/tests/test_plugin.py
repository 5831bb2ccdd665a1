"""Test the plugin: its imports, validation of parameters, and its target's YAML."""

import ast
from pathlib import Path

import pytest

import pokeflow_openvino as plugin
from pokeflow.types import load_params
from pokeflow_openvino.params import CompileParams

CONTRACT = ("pokeflow", "pokeflow.errors", "pokeflow_vision")


def test_plugin_imports_only_the_public_contract():
    modules = set()
    for file in Path(plugin.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules |= {node.module, *names} if isinstance(node, ast.ImportFrom) else set(names)
    known = {name for name in modules if name.partition(".")[0] == "pokeflow"}
    assert known
    assert {name for name in known if name not in CONTRACT and not name.startswith("pokeflow_vision.")} == set()


def test_plugin_has_four_stages(backends):
    assert set(backends) == {"compile", "benchmark", "profile", "recognize"}
    assert {backend.name for backend in backends.values()} == {"openvino"}
    assert [stage for stage, backend in backends.items() if backend.terminal] == ["profile"]


def test_plugin_has_its_own_configuration_package():
    assert plugin.pokeflow_config_package() == "pokeflow_openvino.conf"


@pytest.mark.parametrize(
    ("stage", "params", "faults"),
    [
        ("compile", {}, []),
        (
            "compile",
            {"calibration_images": 0, "calibration_file": "absent.npy"},
            ["calibration_images", "calibration_file"],
        ),
        ("benchmark", {"runs": 0, "batch_sizes": (8,)}, ["runs", "batch_sizes"]),
        ("profile", {"runs": 0, "warmup": -1, "threads": 0}, ["runs", "warmup", "threads"]),
        ("recognize", {"image": "absent.png", "top": 0}, ["top", "image"]),
    ],
)
def test_invalid_parameters_are_reported(backends, stage, params, faults):
    backend = backends[stage]
    assert [name for name, _ in backend.faults(load_params(backend)(**params))] == faults


def test_calibration_file_counts_by_its_content(backends, tmp_path):
    fingerprint, file = backends["compile"].fingerprint_of, tmp_path / "own.npy"
    file.write_bytes(b"one")
    first = fingerprint(CompileParams(calibration_file=str(file)))
    file.write_bytes(b"other")
    assert fingerprint(CompileParams(calibration_file=str(file))) != first
    assert fingerprint(CompileParams()) == ""
