"""A small bundle, and its recognizer in a separate process."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pokeflow_edge.runtime
from pokeflow_vision import index, network
from pokeflow_vision.dataset import Card, Dataset
from pokeflow_vision.on_device import ON_DEVICE, source_of
from pokeflow_vision.preprocessing import Preprocessing, normalize

SPEC = Preprocessing(size=32)
CARDS, DIM = 40, 24
LIMITS = {"top": 5, "max_bytes": 400_000, "max_pixels": 300_000}

ADAPTER = '''
"""Averages of 4×4 tiles, multiplied by a matrix."""
import numpy as np
from pokeflow_vision.preprocessing import normalize

class Network:
    def __init__(self, weights, spec):
        self.weights, self.spec, self.dim = weights, spec, weights.shape[1]

    def prepare(self, squares):
        return normalize(squares, self.spec)

    def __call__(self, prepared):
        n, c, s, _ = prepared.shape
        tiles = prepared.reshape(n, c, 4, s // 4, 4, s // 4).mean(axis=(3, 5))
        return (tiles.reshape(n, -1) @ self.weights).astype(np.float32)

def open_network(folder, spec, threads):
    return Network(np.load(folder / "weights.npy", allow_pickle=False), spec)
'''


def card_dataset() -> Dataset:
    """Return a data set of forty cards of coloured tiles in a card's proportions, without captures."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(0, 256, (CARDS, 4, 4, 3), np.uint8)
    references = tiles.repeat(22, axis=1).repeat(16, axis=2)
    cards = tuple(Card(f"set-{i}", f"Pikachü {i}", "set", str(i), "", "train") for i in range(CARDS))
    return Dataset({"queries": "none"}, SPEC, cards, references, (), references[:0])


def png(picture: np.ndarray) -> bytes:
    return _encode(picture, "PNG")


def jpeg(picture: np.ndarray, **how: Any) -> bytes:
    return _encode(picture, "JPEG", quality=95, **how)


def _encode(picture: np.ndarray, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind, **how)
    return out.getvalue()


@dataclass(frozen=True)
class UnpackedBundle:
    """An unpacked bundle."""

    folder: Path

    @property
    def about(self) -> dict[str, Any]:
        about: dict[str, Any] = json.loads((self.folder / "bundle.json").read_text(encoding="utf-8"))
        return about

    def edit(self, **about: Any) -> None:
        """Change values in its bundle.json."""
        description = {**self.about, **about}
        (self.folder / "bundle.json").write_text(json.dumps(description, indent=2), encoding="utf-8")

    def record_files(self) -> None:
        """Write the present files into its bundle.json."""
        candidates = (
            file for file in sorted(self.folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts
        )
        files = [file for file in candidates if file.name != "bundle.json"]
        self.edit(files={file.relative_to(self.folder).as_posix(): _sum(file) for file in files})

    def copy(self, folder: Path) -> "UnpackedBundle":
        shutil.copytree(self.folder, folder)
        return UnpackedBundle(folder)


def _sum(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def write_code(folder: Path) -> None:
    """Write the modules of the project that a bundle has."""
    runtime = Path(pokeflow_edge.runtime.__file__).parent
    lib = folder / "lib"
    shutil.copytree(runtime, lib / "pokeflow_edge" / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("pokeflow", "pokeflow_vision", "pokeflow_edge"):
        (lib / package).mkdir(exist_ok=True)
        (lib / package / "__init__.py").touch()
    for name in ON_DEVICE:
        shutil.copyfile(source_of(name), lib / f"{name.replace('.', '/')}.py")


def write_bundle(folder: Path, opened: Callable[[Path], Any], adapter: tuple[str, str], **about: Any) -> UnpackedBundle:
    """Write a bundle around the model in its folder; ``adapter`` is its module's name and code."""
    data, name, code = card_dataset(), *adapter
    SPEC.write(folder / "model")
    run = opened(folder / "model")
    gallery = network.gallery(run, data)
    index.write(folder, gallery)
    rows = "".join(f"{card.card_id},{card.name},{card.set},{card.number}\n" for card in data.cards)
    (folder / "labels.csv").write_text(f"card_id,name,set,number\n{rows}", encoding="utf-8")
    squares = network.to_square([data.references[row] for row in (0, 20)], SPEC)
    np.savez(folder / "selftest.npz", squares=squares, embeddings=gallery.embeddings[[0, 20]])
    write_code(folder)
    module = folder / "lib" / f"{name.replace('.', '/')}.py"
    module.parent.mkdir()
    module.with_name("__init__.py").touch()
    module.write_text(code, encoding="utf-8")
    description = {
        "format": 1, "model": {"name": "small", "digest": "d1"}, "version": "1.2", "target": "cpu", "adapter": name,
        "requires": [], "limits": LIMITS, "preprocessing": SPEC.hash,
        "selftest": {"file": "selftest.npz", "cosine": 0.95},
    }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(description | about), encoding="utf-8")
    bundle = UnpackedBundle(folder)
    bundle.record_files()
    return bundle


@pytest.fixture(scope="session")
def numpy_bundle(tmp_path_factory: pytest.TempPathFactory) -> UnpackedBundle:
    """Return a bundle whose model needs numpy alone; tests change only copies."""
    folder = tmp_path_factory.mktemp("numpy-bundle")
    (folder / "model").mkdir()
    np.save(folder / "model" / "weights.npy", np.random.default_rng(3).normal(0, 0.2, (48, DIM)).astype(np.float32))
    names: dict[str, Any] = {"normalize": normalize}
    exec(ADAPTER, names)
    return write_bundle(
        folder, lambda model: names["open_network"](model, SPEC, 1), ("pokeflow_small.network", ADAPTER)
    )


def small_network() -> Any:
    """Return the same averages and matrix as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    rng, step = np.random.default_rng(3), SPEC.size // 4
    weights = {"w": rng.normal(0, 0.2, (48, DIM)), "b": rng.normal(0, 0.01, DIM)}
    nodes = [
        helper.make_node("AveragePool", ["image"], ["p"], kernel_shape=[step] * 2, strides=[step] * 2),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["embedding"]),
    ]
    ends = [("image", ["n", 3, SPEC.size, SPEC.size]), ("embedding", ["n", DIM])]
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
    inside = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", [first], [last], inside)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_bundle_of(target: ModuleType, folder: Path, requires: str) -> UnpackedBundle:
    """Write a bundle around the model in its folder, with the adapter of a target."""
    assert target.__file__ is not None
    adapter = target.__name__, Path(target.__file__).read_text(encoding="utf-8")
    return write_bundle(folder, lambda model: target.open_network(model, SPEC, 1), adapter, requires=[requires])


@pytest.fixture(scope="session")
def onnx_bundle(tmp_path_factory: pytest.TempPathFactory) -> UnpackedBundle:
    """Return a bundle for ONNX Runtime, with the adapter of the cpu target; tests change only copies."""
    import onnx

    import pokeflow_onnxruntime.network as adapter

    folder = tmp_path_factory.mktemp("onnx-bundle")
    (folder / "model").mkdir()
    onnx.save(small_network(), folder / "model" / "model.onnx")
    return write_bundle_of(adapter, folder, "onnxruntime>=1.20")


@pytest.fixture(scope="session")
def openvino_bundle(tmp_path_factory: pytest.TempPathFactory) -> UnpackedBundle:
    """Return a bundle for OpenVINO, with its adapter; tests change only copies."""
    import pokeflow_openvino.network as adapter  # first, because it disables OpenVINO's telemetry

    import openvino  # isort: skip

    folder = tmp_path_factory.mktemp("openvino-bundle")
    (folder / "model").mkdir()
    network = openvino.Core().read_model(small_network().SerializeToString())
    openvino.save_model(network, folder / "model" / adapter.FILE, compress_to_fp16=False)
    return write_bundle_of(adapter, folder, "openvino>=2025.3")


IMPORT_FILTER = '''
import sys

class ImportFilter:
    """Blocks imports that fail on devices; numpy, pillow, the targets' runtimes and OpenCV are allowed."""
    FREE = {"numpy", "PIL", "onnxruntime", "openvino", "cv2"}
    FREE |= {"pokeflow", "pokeflow_vision", "pokeflow_edge", "pokeflow_small"}

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in self.FREE and top not in sys.stdlib_module_names and not top.startswith("_"):
            raise ImportError(f"{name} is on no device")

sys.meta_path.insert(0, ImportFilter())
'''
"""Code that runs before a bundle's code in a separate process."""


def start_process(bundle: UnpackedBundle, code: str, *arguments: str, **more: Any) -> "subprocess.Popen[str]":
    """Start code with a bundle's lib first on the path, and block imports that fail on devices."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(bundle.folder / "lib"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-B", "-P", "-c", IMPORT_FILTER + textwrap.dedent(code), *arguments]
    return subprocess.Popen(
        command, env=env | more.pop("env", {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


MAIN = "from pokeflow_edge.runtime.__main__ import main\nsys.exit(main(sys.argv[1:]))"
SERVE = """
from pathlib import Path
from pokeflow_edge.runtime import metrics, recognizer, server
import logging
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
opened = recognizer.open_bundle(Path(sys.argv[1]))
{before}
sys.exit(server.run(server.Server(opened, server.ServerLimits({limits})), server.listening("127.0.0.1:0")))
"""


def recognize(bundle: UnpackedBundle, *arguments: str, before: str = "") -> tuple[int, str, str]:
    """Run the bundle's command, and return exit code, stdout and stderr."""
    process = start_process(bundle, before + MAIN, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@dataclass(frozen=True)
class Serving:
    process: "subprocess.Popen[str]"
    port: int


@contextlib.contextmanager
def serving(
    bundle: UnpackedBundle, before: str = "", env: dict[str, str] | None = None, **limits: float
) -> Iterator[Serving]:
    """Run a server of a bundle; ``before`` is code that runs once the bundle is open."""
    arguments = ", ".join(f"{name}={value}" for name, value in limits.items())
    process = start_process(bundle, SERVE.format(before=before, limits=arguments), str(bundle.folder), env=env or {})
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        port = next((int(match[1]) for line in lines if (match := re.search(r"serving on .*:(\d+)", line))), None)
        assert port, process.communicate()
        yield Serving(process, port)
    finally:
        process.kill()
        process.communicate()
