"""Provide a small data set, small networks, and tasks that use them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pokeflow_onnxruntime as plugin
from pokeflow import Input, Record, Task
from pokeflow_onnxruntime.params import CompileParams
from pokeflow_vision import dataset
from pokeflow_vision.benchmark import BenchmarkParams
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing

SPEC = Preprocessing(size=16)
CARDS = {"train": 24, "val": 8, "test": 8}


def small_data(*, views: int = 2, shuffled: bool = False, artwork: bool = True, spec: Preprocessing = SPEC) -> Dataset:
    """Return 40 cards of coloured tiles; each query view is a noisy image of its card or, if shuffled, of another."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(0, 256, (sum(CARDS.values()), 4, 4, 3), np.uint8)
    references = tiles.repeat(6, axis=1).repeat(6, axis=2)
    splits = [split for split, count in CARDS.items() for _ in range(count)]
    cards = tuple(
        Card(f"set-{i}", f"Pikachü {i}", "set", str(i), f"art-{i // 2}" if artwork else "", split)
        for i, split in enumerate(splits)
    )
    shown = rng.permutation(len(cards)) if shuffled else np.arange(len(cards))
    rows = [(i, view) for i in range(len(cards)) for view in range(views)]
    queries = tuple(Query(f"set-{i}", splits[i].replace("train", "calibration"), view) for i, view in rows)
    pictures = np.stack([references[shown[i]] for i, _ in rows]).astype(np.int16)
    noisy = (pictures + rng.integers(-12, 13, pictures.shape)).clip(0, 255).astype(np.uint8)
    return Dataset({"queries": f"{views} noisy views"}, spec, cards, references, queries, noisy)


def network(*, size: int = 16, dim: int = 24, opset: int = 17, batch: str | int = "batch") -> onnx.ModelProto:
    """Return convolution, pooling to 4×4 and linear: large enough to shrink in INT8, and it distinguishes the tiles."""
    rng = np.random.default_rng(3)
    weights = {
        "conv.weight": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "conv.bias": rng.normal(0, 0.1, 8),
        "linear.weight": rng.normal(0, 0.1, (8 * 16, dim)),
        "linear.bias": np.zeros(dim),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("AveragePool", ["r"], ["p"], kernel_shape=[size // 4] * 2, strides=[size // 4] * 2, name="p"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "linear.weight", "linear.bias"], ["embedding"], name="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, dim])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def record(stage: str, type: str, **facts: Any) -> Record:
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    values |= {"task": f"{stage}:small", "stage": stage, "type": type, "facts": facts, "files": (), "seconds": 0.0}
    return Record(**values)


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Dataset]:
    return small_data


@pytest.fixture(scope="session")
def make_network() -> Callable[..., onnx.ModelProto]:
    return network


@dataclasses.dataclass(frozen=True)
class Flow:
    """The folders and tasks of a small flow."""

    root: Path

    def prepared(self, data: Dataset | None = None) -> Input:
        folder = self.root / "prepare"
        folder.mkdir(exist_ok=True)
        dataset.write(folder, data or small_data(), {})
        return Input(record("prepare", "dataset"), folder)

    def student(self, model: onnx.ModelProto | None = None, spec: Preprocessing = SPEC) -> Input:
        folder = self.root / "student"
        folder.mkdir(exist_ok=True)
        onnx.save(model or network(), folder / "model.onnx")
        spec.write(folder)
        return Input(record("distill", "student", parameters=3096, architecture="small"), folder)

    def task(self, stage: str, params: Any, *inputs: Input) -> Task:
        work, output = self.root / f"work-{stage}", self.root / stage
        work.mkdir(exist_ok=True)
        output.mkdir(exist_ok=True)
        return Task(stage, "onnxruntime", "small", "1.0", "optimized", "0" * 64, params, inputs, work, output)

    def compile(self, *inputs: Input, **params: Any) -> Task:
        params = {"calibration_images": 32} | params
        return self.task("compile", CompileParams(**params), *(inputs or (self.student(), self.prepared())))

    def benchmark(self, *inputs: Input, **params: Any) -> Task:
        params = {"runs": 5, "warmup": 1, "embed_threads": 1} | params
        return self.task("benchmark", BenchmarkParams(**params), *(inputs or (self.student(), self.prepared())))

    def done(self, task: Task, type: str = "optimized") -> Input:
        return Input(record(task.stage, type), task.output)


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return Flow(tmp_path)


@pytest.fixture(scope="session")
def backends() -> dict[str, Any]:
    """Return the plugin's backends by stage."""
    return {backend.stage: backend for backend in plugin.pokeflow_backends()}
