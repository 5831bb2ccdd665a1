"""The plugin's entry: light to import, with parameters checked before anything runs."""

import subprocess
import sys

import pytest

import pokeflow_sagemaker as plugin
from pokeflow_sagemaker.bundle import code_hash
from pokeflow_sagemaker.bundle.params import PILLOW_LIMIT, BundleParams

HEAVY = ("onnxruntime", "onnx", "numpy", "PIL", "boto3", "google.protobuf")
BUNDLE = next(b for b in plugin.pokeflow_backends() if b.stage == "bundle")


def test_planning_a_bundle_loads_nothing_heavy():
    code = (
        "import sys, pokeflow_sagemaker as p; from pokeflow.types import load_params; "
        "b = next(b for b in p.pokeflow_backends() if b.stage == 'bundle'); "
        "b.fingerprint_of(load_params(b)()); "
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=path)
    assert done.stdout.strip() == "[]"


def test_bundle_backend_has_no_version_in_its_digest():
    assert (BUNDLE.stage, BUNDLE.name, BUNDLE.identity_in_digest) == ("bundle", "sagemaker", False)


def test_packed_code_is_part_of_the_fingerprint(monkeypatch):
    before = BUNDLE.fingerprint_of(BundleParams())
    assert before == code_hash()
    monkeypatch.setattr("pokeflow_sagemaker.bundle.CODE", {"code/inference.py": "inference.py"})
    assert BUNDLE.fingerprint_of(BundleParams()) != before


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, []),
        ({"top": 0, "max_bytes": 0, "max_pixels": -1}, ["top", "max_bytes", "max_pixels"]),
        ({"max_pixels": PILLOW_LIMIT + 1}, ["max_pixels"]),
    ],
)
def test_parameter_faults_are_reported(params, faults):
    assert [name for name, _ in BUNDLE.faults(BundleParams(**params))] == faults
