"""The plugin's entry: light to import, with parameters checked before anything runs and targets in YAML."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

import pokeflow_hailo as plugin
from pokeflow.config import composition, omegaconf
from pokeflow.schema import parse
from pokeflow.types import load_params
from pokeflow_hailo.params import CompileParams, Compiler, ProfileParams, Script

HEAVY = ("numpy", "onnx", "onnxruntime", "PIL", "google.protobuf", "hailo_platform", "hailo_sdk_client", "yaml")


@pytest.fixture(scope="module")
def backends() -> dict[str, Any]:
    return {backend.stage: backend for backend in plugin.pokeflow_backends()}


def shipped(name: str) -> dict[str, Any]:
    return dict(omegaconf.to_plain(composition.compose_config([f"target={name}"]))["target"])


def test_importing_the_plugin_loads_nothing_heavy():
    code = f"import sys, pokeflow_hailo as p; p.pokeflow_backends(); print([m for m in {HEAVY} if m in sys.modules])"
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=path)
    assert done.stdout.strip() == "[]"


def test_plugin_has_four_stages_under_one_name(backends):
    assert set(backends) == {"compile", "benchmark", "profile", "recognize"}
    assert {backend.name for backend in backends.values()} == {"hailo"}


def test_fingerprint_depends_on_a_device_but_not_on_its_address(backends):
    named = [backends["profile"].fingerprint_of(ProfileParams(device=device)) for device in (None, "local", "pi@pi5")]
    assert named[0] != named[1] == named[2]


@pytest.mark.parametrize("name", ["hailo8l", "hailo8"])
def test_a_target_names_every_parameter(backends, name):
    target = shipped(name)
    assert target["name"] == target["compile"]["params"]["hw_arch"] == target["package"]["params"]["target"] == name
    for stage in ("compile", "benchmark", "profile"):
        backend = backends[stage]
        assert target[stage]["backend"] == "hailo"
        params, wanted = target[stage]["params"], load_params(backend)
        assert set(params) == {field.name for field in dataclasses.fields(wanted)}
    script = target["compile"]["params"]["script"]
    assert set(script) == {field.name for field in dataclasses.fields(Script)}
    assert set(target["compile"]["params"]["compiler"]) == {field.name for field in dataclasses.fields(Compiler)}


def test_target_has_the_owners_names_and_requirements():
    target = shipped("hailo8l")
    assert target["compile"]["params"]["file"] == "pokemon_student_efficientnet_lite0_stage2.hef"
    assert target["compile"]["params"]["calibration_images"] == 1024
    assert target["benchmark"]["params"]["requires"] == {
        "latency_p50_ms": 10.0,
        "throughput_fps_batch1": 100.0,
        "power_w": 2.5,
    }


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, []),
        ({"hw_arch": "hailo9"}, ["hw_arch: no choice 'hailo9'. Did you mean 'hailo8'"]),
        ({"script": {"preset": "best"}}, ["script.preset: no choice 'best'"]),
        ({"script": {"precision": {"conv1": "a4_w4"}}}, ["script.precision.conv1: no choice 'a4_w4'"]),
        ({"script": {"algorithms": {"fintune": "enabled"}}}, ["script.algorithms.fintune: no key 'fintune'"]),
        ({"script": {"algorithms": {"finetune": "on"}}}, ["script.algorithms.finetune: no choice 'on'"]),
    ],
)
def test_typos_get_the_nearest_name(params, faults):
    errors: list[Any] = []
    parse(CompileParams, {"hw_arch": "hailo8l", **params}, "", errors)
    assert len(errors) == len(faults)
    assert all(str(fault).startswith(start) for fault, start in zip(errors, faults, strict=True))


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, []),
        ({"file": "../x.hef"}, ["file"]),
        ({"file": "model.onnx"}, ["file"]),
        (
            {"script": Script(optimization_level=5, compression_level=-1)},
            ["script.optimization_level", "script.compression_level"],
        ),
        ({"script": Script(batch_size=0)}, ["script.batch_size"]),
        (
            {"script": Script(precision={"a)\nb": "a16_w16"}, double_scale=("a b",))},
            ["script.precision", "script.double_scale"],
        ),
        ({"calibration_images": 1000}, ["calibration_images"]),
        ({"calibration_images": 1000, "allow_downgrade": True}, []),
        ({"calibration_images": 1000, "script": Script("fast")}, []),
        ({"calibration_images": 0, "script": Script("fast")}, ["calibration_images"]),
        ({"calibration_images": None}, []),
        ({"calibration_file": "absent.npy"}, ["calibration_file"]),
        (
            {"compiler": Compiler(python="-c", host="-oProxyCommand=x", hours=0)},
            ["compiler.python", "compiler.hours", "compiler.host"],
        ),
        ({"compiler": Compiler(python="/opt/dfc/bin/python", host="me@build.example:x")}, []),
        ({"compiler": Compiler(hours=float("nan"))}, ["compiler.hours"]),
    ],
)
def test_parameter_faults_are_reported(backends, params, faults):
    backend = backends["compile"]
    assert [name for name, _ in backend.faults(load_params(backend)("hailo8l", **params))] == faults


def test_fingerprint_uses_the_calibration_files_content(backends, tmp_path):
    backend = backends["compile"]
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    prints = [backend.fingerprint_of(CompileParams("hailo8l", calibration_file=str(tmp_path / name))) for name in "abc"]
    assert prints[0] == prints[1] != prints[2]
    assert backend.fingerprint_of(CompileParams("hailo8l")) == ""
