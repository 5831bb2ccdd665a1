"""Provide the tasks of a small flow with drawn cards and a small network."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pokeflow_openvino as plugin
from pokeflow import Backend, Input, Record, Task
from pokeflow_openvino.params import CompileParams
from pokeflow_vision.benchmark import BenchmarkParams
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.profiling import ProfileParams
from pokeflow_vision.testing import data, network


def record(stage: str, type: str, **facts: Any) -> Record:
    values: dict[str, Any] = {field.name: "" for field in dataclasses.fields(Record)}
    values |= {"task": f"{stage}:small", "stage": stage, "type": type, "facts": facts, "files": (), "seconds": 0.0}
    return Record(**values)


@dataclasses.dataclass(frozen=True)
class Flow:
    """The folders and tasks of a small flow."""

    root: Path

    def folder(self, name: str) -> Path:
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    def prepared(self, kept: Callable[[str], bool] = lambda split: True) -> Input:
        drawn = data.draw_dataset()
        rows = [j for j, query in enumerate(drawn.queries) if kept(query.split)]
        queries = tuple(drawn.queries[j] for j in rows)
        data.write(
            self.folder("prepare"), dataclasses.replace(drawn, queries=queries, query_images=drawn.query_images[rows])
        )
        return Input(record("prepare", "dataset"), self.root / "prepare")

    def student(self, model: onnx.ModelProto | None = None, spec: Preprocessing = data.SPEC) -> Input:
        folder = self.folder("student")
        onnx.save(model or network.model(), folder / "model.onnx")
        spec.write(folder)
        return Input(record("distill", "student", parameters=3096, architecture="small"), folder)

    def task(self, stage: str, params: Any, *inputs: Input) -> Task:
        work, output = self.folder(f"work-{stage}"), self.folder(stage)
        return Task(stage, "openvino", "small", "1.0", "optimized", "0" * 64, params, inputs, work, output)

    def compile(self, *inputs: Input, **params: Any) -> Task:
        return self.task("compile", CompileParams(**params), *(inputs or (self.student(), self.prepared())))

    def benchmark(self, model: Input, **params: Any) -> Task:
        params = {"runs": 5, "warmup": 1, "embed_threads": 1} | params
        return self.task("benchmark", BenchmarkParams(**params), model, self.prepared())

    def profile(self, model: Input, **params: Any) -> Task:
        return self.task("profile", ProfileParams(**{"runs": 5, "warmup": 1} | params), model, self.prepared())


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return Flow(tmp_path)


@pytest.fixture(scope="session")
def backends() -> dict[str, Backend]:
    """Return the plugin's backends by stage."""
    return {backend.stage: backend for backend in plugin.pokeflow_backends()}


@pytest.fixture(scope="session")
def compiled_model(tmp_path_factory: pytest.TempPathFactory, backends: dict[str, Backend]) -> Input:
    """Return a compiled model that tests must not change; its record has the metrics and facts."""
    flow = Flow(tmp_path_factory.mktemp("compiled"))
    task = flow.compile()
    result = backends["compile"](task)
    assert not isinstance(result, dict)
    return Input(
        dataclasses.replace(record("compile", "optimized"), metrics=result.metrics, facts=result.facts), task.output
    )


def quantized() -> onnx.ModelProto:
    """Return a network whose input is quantized and dequantized, as a quantizer does."""
    model = network.model()
    for value, name, kind in ((0.02, "scale", TensorProto.FLOAT), (128, "zero", TensorProto.UINT8)):
        model.graph.initializer.append(helper.make_tensor(name, kind, [], [value]))
    model.graph.node[0].input[0] = "d"
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model


def averaging() -> onnx.ModelProto:
    """Return a network without weights: the mean of each channel."""
    node = helper.make_node("ReduceMean", ["image"], ["embedding"], axes=[2, 3], keepdims=0)
    side = data.SPEC.size
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_weight(name: str, value: float) -> onnx.ModelProto:
    """Return the small network with one value of a weight replaced."""
    weights = {key: values.copy() for key, values in network.weights().items()}
    weights[name].flat[0] = value
    return network.model(weights)


@pytest.fixture
def spoilt() -> dict[str, onnx.ModelProto]:
    """Return networks that must not be compiled, by the expected message."""
    return {
        "already quantized": quantized(),
        "has no operator to quantize; it needs one of Convolution, GroupConvolution, MatMul": averaging(),
        "'conv1.weight' contains NaN or infinity": with_weight("conv1.weight", float("nan")),
        "'linear.weight' contains NaN or infinity": with_weight("linear.weight", float("inf")),
    }


@pytest.fixture
def outside(tmp_path: Path) -> onnx.ModelProto:
    """Return a network whose first weight refers to an existing file above the model's folder."""
    model = network.model()
    tensor = model.graph.initializer[0]
    (tmp_path / "secret").write_bytes(numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    return model
