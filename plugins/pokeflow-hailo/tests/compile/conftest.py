"""A small data set, a small network, tasks between them, and an interpreter that has the compiler's double."""

import dataclasses
import functools
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pokeflow_hailo as plugin
from pokeflow import Input, Record, Result, Task
from pokeflow.images import dataset
from pokeflow.images.dataset import Card, Dataset, Query
from pokeflow.images.preprocessing import Preprocessing
from pokeflow_hailo.params import CompileParams, Compiler, Script

SPEC = Preprocessing(size=16)
CARDS = {"train": 24, "val": 8, "test": 8}
DOUBLES = Path(__file__).parents[1] / "doubles"
FILE = "pokemon_student_efficientnet_lite0_stage2.hef"
IMAGES = 48


def small_data(*, views: int = 2, spec: Preprocessing = SPEC) -> Dataset:
    """Forty cards of coloured tiles; each query view is a noisy image of its card, ``views`` of each train card."""
    rng = np.random.default_rng(7)
    tiles = rng.integers(0, 256, (sum(CARDS.values()), 4, 4, 3), np.uint8)
    references = tiles.repeat(6, axis=1).repeat(6, axis=2)
    splits = [split for split, count in CARDS.items() for _ in range(count)]
    cards = tuple(Card(f"set-{i}", f"Pikachü {i}", "set", str(i), f"art-{i}", s) for i, s in enumerate(splits))
    shown = [(i, view) for i, split in enumerate(splits) for view in range(views if split == "train" else 2)]
    queries = tuple(Query(f"set-{i}", splits[i].replace("train", "calibration"), view) for i, view in shown)
    pictures = references[[i for i, _ in shown]].astype(np.int16)
    noisy = (pictures + rng.integers(-12, 13, pictures.shape)).clip(0, 255).astype(np.uint8)
    return Dataset({"queries": f"{views} noisy views", "seed": 7}, spec, cards, references, queries, noisy)


def network(*, size: int = 16, dim: int = 24, opset: int = 17, batch: str | int = "batch") -> onnx.ModelProto:
    """Convolution, pooling to 4×4, linear: it keeps the tiles apart."""
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
    values |= {name: {} for name in ("params", "inputs", "metrics", "reasons", "environment")}
    values |= {"task": f"{stage}:small", "stage": stage, "type": type, "facts": facts, "files": (), "seconds": 0.0}
    values["cost_usd"] = None
    return Record(**values)


@dataclasses.dataclass(frozen=True)
class Flow:
    """The folders of one little flow, and its tasks; ``python`` has the double of the compiler."""

    root: Path
    python: str

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

    def task(self, *inputs: Input, attempt: int = 1, python: str | None = "", **params: Any) -> Task:
        """A compile task; each attempt has an empty output and the same work folder."""
        work, output = self.root / "work", self.root / f"output-{attempt}"
        work.mkdir(exist_ok=True)
        output.mkdir()
        compiler = Compiler(python=self.python if python == "" else python)
        given = {"hw_arch": "hailo8l", "file": FILE, "script": Script("fast"), "calibration_images": IMAGES}
        wanted = CompileParams(**{**given, "compiler": compiler, **params})
        inputs = inputs or (self.student(), self.prepared())
        return Task("compile", "hailo", "small", "1.0", "optimized", "0" * 16, wanted, inputs, work, output)


def wrapper(folder: Path, failure: str = "", *, gpu: bool = False, first: str = "") -> str:
    """An interpreter that can import the compiler's double; what goes wrong and whether it has a GPU is set there."""
    file = folder / "dfc-python"
    lines = [
        "#!/bin/sh",
        f"export PYTHONPATH={DOUBLES} HAILO_DOUBLE='{failure}' HAILO_DOUBLE_PIDS={folder / 'pids'}",
        "export HAILO_DOUBLE_GPU=1" if gpu else "unset HAILO_DOUBLE_GPU",
        first,
        f'exec {sys.executable} "$@"',
    ]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[..., str]:
    """Makes such an interpreter in the test's folder."""
    return functools.partial(wrapper, tmp_path)


@pytest.fixture
def flow(tmp_path: Path, interpreter: Callable[..., str]) -> Flow:
    return Flow(tmp_path, interpreter())


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, backend: Any) -> tuple[Task, Result]:
    """One compilation that went well, for all who only look at it."""
    folder = tmp_path_factory.mktemp("done")
    task = Flow(folder, wrapper(folder)).task()
    return task, backend.run(task)


@pytest.fixture(scope="session")
def backend() -> Any:
    """The plugin's backend of stage compile."""
    return next(backend for backend in plugin.pokeflow_backends() if backend.stage == "compile")


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process has ended."""

    def ended(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True

    return ended
