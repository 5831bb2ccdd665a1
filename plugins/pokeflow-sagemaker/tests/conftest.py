"""Forty cards of coloured tiles, a small network, its benchmark, and the bundle of it all, unpacked."""

import dataclasses
import hashlib
import importlib.util
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pokeflow_sagemaker
from pokeflow import Backend, File, Input, Record, Result, Task
from pokeflow_sagemaker.bundle.params import BundleParams
from pokeflow_vision import benchmark, dataset, recognition
from pokeflow_vision.benchmark import BenchmarkParams
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing, normalize
from pokeflow_vision.recognition import RecognizeParams

SPEC = Preprocessing(size=16)
SPLITS = ["train"] * 24 + ["val"] * 8 + ["test"] * 8


def small_data(names: Callable[[int], str] = lambda i: f"Pikachü, {i}") -> Dataset:
    rng = np.random.default_rng(7)
    references = rng.integers(0, 256, (len(SPLITS), 4, 4, 3), np.uint8).repeat(6, axis=1).repeat(6, axis=2)
    cards = tuple(Card(f"set-{i}", names(i), "set", str(i), f"art-{i // 2}", split) for i, split in enumerate(SPLITS))
    shown = [i for i, split in enumerate(SPLITS) if split != "train"]
    queries = tuple(Query(f"set-{i}", SPLITS[i], 0) for i in shown)
    noisy = (references[shown].astype(np.int16) + rng.integers(-12, 13, (len(shown), 24, 24, 3))).clip(0, 255)
    return Dataset({"queries": "noisy views"}, SPEC, cards, references, queries, noisy.astype(np.uint8))


def network(dim: int = 24, size: int = 16) -> onnx.ModelProto:
    """Pooling to 4×4 and a linear layer: enough to keep the tiles apart."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("AveragePool", ["image"], ["p"], kernel_shape=[size // 4] * 2, strides=[size // 4] * 2),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "weight"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(rng.normal(0, 0.1, (48, dim)).astype(np.float32), "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def done(stage: str, type: str, folder: Path, result: Result | None = None) -> Input:
    """Return a finished task, recorded as the engine does."""
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    result = result or Result(facts={"architecture": "small", "parameters": 1152})
    files = tuple(
        File(f.name, f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest()) for f in sorted(folder.iterdir())
    )
    values |= {"task": f"{stage}:small", "stage": stage, "type": type, "backend": "test", "seconds": 0.0}
    values |= {"digest": f"{stage}-digest", "content": f"{stage}-content", "files": files}
    return Input(
        Record(**values | {"metrics": result.metrics, "facts": result.facts, "reasons": result.reasons}), folder
    )


class Opened:
    """A folder's network in ONNX Runtime, as a target's plugin opens it."""

    def __init__(self, folder: Path, spec: Preprocessing, threads: int) -> None:
        self._spec = spec
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.dim = self._session.get_outputs()[0].shape[1]

    def prepare(self, squares: Any) -> Any:
        return normalize(squares, self._spec)

    def __call__(self, prepared: Any) -> Any:
        return self._session.run(["embedding"], {"image": prepared})[0]


def measured(task: Task) -> Result:
    return benchmark.run(task, Opened, framework="test", size_mb=lambda folder: 0.0)


def recognized(task: Task) -> Result:
    return recognition.run(task, Opened)


TARGET = (
    Backend("target", "benchmark", measured, BenchmarkParams),
    Backend("target", "recognize", recognized, RecognizeParams),
)
"""Stand-ins for a target's plugin: plugins do not import one another."""


@dataclasses.dataclass(frozen=True)
class Flow:
    """The folders of one little flow, and its tasks."""

    root: Path

    def folder(self, name: str) -> Path:
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    def prepared(self, data: Dataset | None = None) -> Input:
        dataset.write(self.folder("prepare"), data or small_data(), {})
        return done("prepare", "data", self.folder("prepare"))

    def model(self, model: onnx.ModelProto | None = None, **more: bytes) -> Input:
        folder = self.folder("model")
        onnx.save(model or network(), folder / "model.onnx")
        SPEC.write(folder)
        for name, content in more.items():
            (folder / name.replace("__", ".")).write_bytes(content)
        return done("distill", "student", folder)

    def benchmarked(self, model: Input, data: Input) -> Input:
        params = BenchmarkParams(runs=1, warmup=0, embed_threads=1)
        return done(
            "benchmark", "student", self.folder("benchmark"), self.run("target", "benchmark", params, model, data)
        )

    def bundle(self, *inputs: Input, **params: Any) -> tuple[Path, Result]:
        if not inputs:
            model, data = self.model(), self.prepared()
            inputs = (model, self.benchmarked(model, data), data)
        result = self.run("sagemaker", "bundle", BundleParams(**params), *inputs)
        return self.root / "bundle" / "model.tar.gz", result

    def run(self, name: str, stage: str, params: Any, *inputs: Input, **named: str) -> Result:
        backends = (*TARGET, *pokeflow_sagemaker.pokeflow_backends())
        (backend,) = (b for b in backends if (b.name, b.stage) == (name, stage))
        work, output = self.folder(f"work-{stage}"), self.folder(stage)
        about = {"model": "small", "version": "v1.0", "type": "student", "digest": "0" * 16} | named
        result = backend(Task(stage, name, params=params, inputs=inputs, work=work, output=output, **about))
        assert isinstance(result, Result)
        return result


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return Flow(tmp_path)


@dataclasses.dataclass(frozen=True)
class Served:
    """A bundle unpacked into an empty folder, its code as a module, and the flow that it came from."""

    flow: Flow
    folder: Path
    code: ModuleType


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    flow = Flow(tmp_path_factory.mktemp("served"))
    archive, _ = flow.bundle(max_bytes=400_000, max_pixels=300_000)
    return Served(flow, *unpacked(archive, flow.root / "opt"))


def unpacked(archive: Path, folder: Path) -> tuple[Path, ModuleType]:
    with tarfile.open(archive) as packed:
        packed.extractall(folder)  # its own: Python 3.11.0 has no filters
    spec = importlib.util.spec_from_file_location(f"inference_{folder.parent.name}", folder / "code" / "inference.py")
    assert spec
    assert spec.loader
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    return folder, code


@pytest.fixture(scope="session")
def served_port(served: Served) -> Iterator[int]:
    """Start the bundle's own server once for all tests and return its port."""
    from .bundle.test_server import started

    with started(served.folder) as (_, port):
        yield port


@pytest.fixture(scope="session")
def served_runtime(served_port: int) -> Iterator[Any]:
    """Start a stand-in for SageMaker's runtime once: boto3 clients are costly to create and cached by address."""
    from .serving_flow import runtime

    with runtime(served_port) as standing:
        yield standing


@pytest.fixture
def deployed(
    cloud: Any,
    served: Served,
    served_port: int,
    served_runtime: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Upload a bundle to the test cloud; its endpoints pass requests to the bundle's own server."""
    from .serving_flow import Deployed, bundled

    folder = served.flow.folder("bundle")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", served_runtime.url)
    served_runtime.answers, served_runtime.requests = [], []
    record = bundled(folder, {"preprocessing": SPEC.hash}, "a" * 16)
    deployment = Deployed(cloud, served_runtime, folder, served, served_port, record)
    deployment.shares(record)
    cloud.forget()
    return deployment
