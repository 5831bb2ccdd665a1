"""A bundle packed by the stage ``package`` runs on a machine that has only its requirements."""

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pokeflow_edge
from pokeflow_edge.runtime import recognizer
from pokeflow_edge.runtime.update.unpack import unpack
from pokeflow_vision import index

from ..conftest import card_dataset, jpeg
from ..pack.conftest import Flow, finished_task

NEEDED = ("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs", "PIL", "pillow.libs")
"""Folders that pip installs for every bundle, with the C libraries of the wheels."""
ABSENT = (
    *("torch", "hydra", "omegaconf", "pluggy", "msgspec", "onnx", "nncf"),
    *("pokeflow.types", "pokeflow_onnxruntime.stages.compile", "pokeflow_openvino.stages.compile"),
)
RUNTIMES = {"onnxruntime": ("onnx_bundle", "onnxruntime>=1.20"), "openvino": ("openvino_bundle", "openvino>=2025.3")}
"""The bundle fixture and the requirement of each runtime package."""


@pytest.fixture(scope="module", params=RUNTIMES)
def root(request, tmp_path_factory):
    """Create a device's folder with the unpacked bundle in ``releases/1``, but without Python."""
    root = tmp_path_factory.mktemp(request.param)
    bundle, requires = RUNTIMES[request.param]
    source = request.getfixturevalue(bundle)
    flow = Flow(tmp_path_factory.mktemp("flow"))
    compiled = flow.root / "compile"
    compiled.mkdir()
    for file in (*(source.folder / "model").iterdir(), source.folder / index.FILE):
        (compiled / file.name).write_bytes(file.read_bytes())
    inputs = (finished_task("compile", compiled), flow.prepare())
    task = flow.task(*inputs, adapter=f"pokeflow_{request.param}.network", requires=(requires,))
    (backend,) = (backend for backend in pokeflow_edge.pokeflow_backends() if backend.stage == "package")
    backend(task)
    (root / "releases").mkdir()
    unpack(task.output / "edge-bundle.tar.gz", root / "releases" / "1")
    return root


def link_packages(root: Path) -> None:
    """Create a Python for ``bin/recognize`` whose site-packages has only links to the bundle's requirements."""
    (runtime,) = (name for name in RUNTIMES if name in (root / "releases/1/requirements.txt").read_text())
    site, packages = root / "packages", Path(np.__file__).parents[1]  # may differ from this environment's site-packages
    site.mkdir()
    for name in (*NEEDED, runtime):
        if (packages / name).exists():
            (site / name).symlink_to(packages / name)
    (root / "venv" / "bin").mkdir(parents=True)
    python = root / "venv" / "bin" / "python"
    base = Path(sys._base_executable).resolve()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="${{PYTHONPATH:-}}:{site}" exec {base} -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)


def install_requirements(root: Path) -> None:
    """Create a virtual environment with the bundle's requirements.txt, from the package index of pip."""
    import venv

    venv.create(root / "venv", with_pip=True)
    requirements = root / "releases" / "1" / "requirements.txt"
    command = [root / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module", params=[link_packages, pytest.param(install_requirements, marks=pytest.mark.long)])
def device(request, root):
    """Return the root with one of these Pythons; the bundle's command uses it."""
    request.param(root)
    yield root
    (root / "venv").rename(root / f"venv-of-{request.param.__name__}")


def command(device: Path, *arguments: str) -> list[str]:
    return [str(device / "releases" / "1" / "bin" / "recognize"), *arguments]


ENV = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
ENV |= {"PATH": os.defpath, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", ABSENT)
def test_environment_has_no_framework_modules(device, name):
    python, env = device / "venv" / "bin" / "python", {**ENV, "PYTHONPATH": str(device / "releases" / "1" / "lib")}
    ran = subprocess.run([python, "-c", f"import {name}"], env=env, capture_output=True, check=False)
    assert ran.returncode == 1
    assert b"ModuleNotFoundError" in ran.stderr


def test_bundle_passes_its_check(device):
    ran = subprocess.run(command(device, "--check"), env=ENV, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["status"] == "ok"


@contextlib.contextmanager
def serving(device: Path):
    process = subprocess.Popen(command(device, "--http", "127.0.0.1:0"), env=ENV, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stderr.readline, "")
        port = next((int(match[1]) for line in lines if (match := re.search(r"serving on .*:(\d+)", line))), None)
        assert port, process.communicate()
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_http_answers_match_local_recognition(device):
    rng, references = np.random.default_rng(5), card_dataset().references
    opened = recognizer.open_bundle(device / "releases" / "1", 1)
    with serving(device) as (process, address):
        for card in range(0, 40, 3):
            large = np.asarray(Image.fromarray(references[card]).resize((320, 440)))
            body = jpeg((large + rng.integers(-20, 21, large.shape)).clip(0, 255).astype(np.uint8))
            request = urllib.request.Request(f"{address}/recognize", body, {"Content-Type": "image/jpeg"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                matches = json.load(answer)["matches"]
            expected = opened.answer(body).matches
            assert matches[0]["card_id"] == f"set-{card}"
            assert [match["card_id"] for match in matches] == [match.card_id for match in expected]
            assert [m["score"] for m in matches] == pytest.approx([m.score for m in expected], abs=1e-6)
        with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
            assert json.load(answer)["milliseconds"]["request"]["count"] == 14
        process.terminate()
        assert process.wait(120) == 0
