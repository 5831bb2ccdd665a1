"""The bundle as the stage ``package`` packs it, unpacked on a machine that has what it asks for, and nothing else."""

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

from ..conftest import drawn, jpeg
from ..pack.conftest import Flow, done

NEEDED = ("numpy", "numpy.libs", "PIL", "pillow.libs")
"""What pip installs for every bundle; the C libraries of wheels lie beside them."""
ABSENT = (
    *("torch", "hydra", "omegaconf", "pluggy", "msgspec", "onnx", "nncf"),
    *("pokeflow.types", "pokeflow_onnxruntime.stages.compile", "pokeflow_openvino.stages.compile"),
)
RUNTIMES = {"onnxruntime": ("onnx_bundle", "onnxruntime>=1.20"), "openvino": ("openvino_bundle", "openvino>=2025.3")}
"""By the runtime's package, which its plugin is called after."""


@pytest.fixture(scope="module", params=RUNTIMES)
def root(request, tmp_path_factory):
    """A device's folder: the unpacked bundle in ``releases/1``; where Python is to come from stays open."""
    root = tmp_path_factory.mktemp(request.param)
    bundle, requires = RUNTIMES[request.param]
    made = request.getfixturevalue(bundle)
    flow = Flow(tmp_path_factory.mktemp("flow"))
    compiled = flow.root / "compile"
    compiled.mkdir()
    for file in (*(made.folder / "model").iterdir(), made.folder / index.FILE):
        (compiled / file.name).write_bytes(file.read_bytes())
    made_of = (done("compile", compiled), flow.prepared())
    task = flow.task(*made_of, adapter=f"pokeflow_{request.param}.network", requires=(requires,))
    (backend,) = (backend for backend in pokeflow_edge.pokeflow_backends() if backend.stage == "package")
    backend(task)
    (root / "releases").mkdir()
    unpack(task.output / "edge-bundle.tar.gz", root / "releases" / "1")
    return root


def links(root: Path) -> None:
    """A Python without site-packages but for links to what the bundle needs, where ``bin/recognize`` looks."""
    (runtime,) = (name for name in RUNTIMES if name in (root / "releases/1/requirements.txt").read_text())
    site, packages = root / "packages", Path(np.__file__).parents[1]  # not always this environment's own folder
    site.mkdir()
    for name in (*NEEDED, runtime):
        if (packages / name).exists():
            (site / name).symlink_to(packages / name)
    (root / "venv" / "bin").mkdir(parents=True)
    python = root / "venv" / "bin" / "python"
    base = Path(sys._base_executable).resolve()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="${{PYTHONPATH:-}}:{site}" exec {base} -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)


def installed(root: Path) -> None:
    """A virtual environment with the bundle's requirements.txt, from the package index that pip is set to."""
    import venv

    venv.create(root / "venv", with_pip=True)
    requirements = root / "releases" / "1" / "requirements.txt"
    command = [root / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module", params=[links, pytest.param(installed, marks=pytest.mark.long)])
def device(request, root):
    """The root with such a Python; the bundle's own command finds it."""
    request.param(root)
    yield root
    (root / "venv").rename(root / f"venv-of-{request.param.__name__}")


def command(device: Path, *arguments: str) -> list[str]:
    return [str(device / "releases" / "1" / "bin" / "recognize"), *arguments]


ENV = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
ENV |= {"PATH": os.defpath, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", ABSENT)
def test_the_environment_has_nothing_of_the_framework(device, name):
    python, env = device / "venv" / "bin" / "python", {**ENV, "PYTHONPATH": str(device / "releases" / "1" / "lib")}
    ran = subprocess.run([python, "-c", f"import {name}"], env=env, capture_output=True, check=False)
    assert ran.returncode == 1
    assert b"ModuleNotFoundError" in ran.stderr


def test_the_bundle_proves_itself(device):
    ran = subprocess.run(command(device, "--check"), env=ENV, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["status"] == "ok"


@contextlib.contextmanager
def serving(device: Path):
    process = subprocess.Popen(command(device, "--http", "127.0.0.1:0"), env=ENV, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stderr.readline, "")
        port = next((int(found[1]) for line in lines if (found := re.search(r"serving on .*:(\d+)", line))), None)
        assert port, process.communicate()
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def test_photos_are_recognised_over_http_as_they_are_here(device):
    rng, references = np.random.default_rng(5), drawn().references
    opened = recognizer.open_bundle(device / "releases" / "1", 1)
    with serving(device) as (process, address):
        for card in range(0, 40, 3):
            large = np.asarray(Image.fromarray(references[card]).resize((320, 440)))
            body = jpeg((large + rng.integers(-20, 21, large.shape)).clip(0, 255).astype(np.uint8))
            request = urllib.request.Request(f"{address}/recognize", body, {"Content-Type": "image/jpeg"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)["matches"]
            expected = opened.answer(body).matches
            assert found[0]["card_id"] == f"set-{card}"
            assert [match["card_id"] for match in found] == [match.card_id for match in expected]
            assert [m["score"] for m in found] == pytest.approx([m.score for m in expected], abs=1e-6)
        with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
            assert json.load(answer)["milliseconds"]["request"]["count"] == 14
        process.terminate()
        assert process.wait(120) == 0
