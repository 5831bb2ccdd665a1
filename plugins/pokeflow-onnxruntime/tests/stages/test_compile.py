"""Stage compile: static INT8, calibrated on captures, compared with its parent."""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pokeflow import PokeflowError
from pokeflow_onnxruntime.network import open_network
from pokeflow_onnxruntime.stages import compile
from pokeflow_vision import comparison
from pokeflow_vision.preprocessing import Preprocessing


def test_int8_network_is_quantized_and_smaller(flow, backends):
    task = flow.compile()
    result = backends["compile"](task)
    operators = compile.operators(task.output / "model.onnx")
    assert operators["QuantizeLinear"] >= 3
    assert operators["DequantizeLinear"] >= 5
    weights = {t.name: t.data_type for t in onnx.load(task.output / "model.onnx").graph.initializer}
    assert weights["conv.weight_quantized"] == weights["linear.weight_quantized"] == TensorProto.INT8
    assert result.metrics["size_mb"] == (task.output / "model.onnx").stat().st_size / 1e6
    assert result.metrics["size_mb"] < result.metrics["fp32_size_mb"]
    assert result.metrics["size_ratio"] == result.metrics["fp32_size_mb"] / result.metrics["size_mb"]


def test_larger_linear_layer_shrinks_towards_a_quarter(flow, backends, make_network):
    result = backends["compile"](flow.compile(flow.student(make_network(dim=512)), flow.prepared()))
    assert 3 < result.metrics["size_ratio"] < 4


def test_metrics_compare_with_the_parent_on_the_same_queries(flow, backends):
    result = backends["compile"](flow.compile())
    metrics = result.metrics
    assert metrics["top1_accuracy_fp32"] == 1
    assert metrics["accuracy_drop"] == metrics["top1_accuracy_fp32"] - metrics["top1_accuracy"]
    assert 0.98 < metrics["cosine_to_parent_min"] <= metrics["cosine_to_parent"] < 0.999999
    assert metrics["top1_agreement"] > 0.9
    assert result.facts["protocol"].startswith("16 query views (2 noisy views) of 8 val cards against 40 references")
    assert result.facts["parameters"] == 3096
    assert result.facts["quantization"] == "INT8 static QDQ U8S8 per-channel"
    assert result.facts["framework"].startswith("ONNX Runtime 1.")


def test_agreement_falls_with_different_answers(make_data):
    data = make_data()
    queries = data.queries_of("val")
    rng = np.random.default_rng(0)
    references, queried = rng.normal(size=(40, 8)), rng.normal(size=(len(queries), 8))
    same = comparison.compare((references, queried), (references, queried), data, queries)
    assert (same["top1_agreement"], same["accuracy_drop"]) == (1, 0)
    assert same["cosine_to_parent_min"] == pytest.approx(1)
    other = comparison.compare((references, queried), (references, -queried), data, queries)
    assert other["top1_agreement"] == 0
    assert other["cosine_to_parent"] == pytest.approx(-1)


@pytest.mark.parametrize("method", ["percentile", "minmax", "entropy"])
def test_every_method_calibrates(flow, backends, method):
    task = flow.compile(method=method, batch_size=5)
    assert backends["compile"](task).metrics["cosine_to_parent"] > 0.95
    config = json.loads((task.output / "calibration_config.json").read_text())
    assert config["method"] == method
    assert (config["percentile"] is None) == (method != "percentile")


def test_per_tensor_and_reduced_range_are_applied(flow, backends):
    task = flow.compile(per_channel=False, reduce_range=True)
    assert backends["compile"](task).facts["quantization"] == "INT8 static QDQ U8S8 per-tensor, 7-bit weights"
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(task.output / "model.onnx").graph.initializer}
    assert tensors["conv.weight_scale"].shape == ()
    assert np.abs(tensors["conv.weight_quantized"].astype(int)).max() <= 64


def test_data_without_val_queries_is_refused(flow, backends, make_data):
    data = make_data()
    kept = [j for j, query in enumerate(data.queries) if query.split != "val"]
    queries = tuple(data.queries[j] for j in kept)
    fewer = dataclasses.replace(data, queries=queries, query_images=data.query_images[kept])
    with pytest.raises(PokeflowError, match=r"no val queries.*data\.queries\.views"):
        backends["compile"](flow.compile(flow.student(), flow.prepared(fewer)))


def test_parent_with_other_preprocessing_is_refused(flow, backends):
    parent = flow.student(spec=Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with pytest.raises(PokeflowError, match=r"distill:small: preprocessing .* differs"):
        backends["compile"](flow.compile(parent, flow.prepared()))


def test_task_without_a_model_is_refused(flow, backends):
    with pytest.raises(PokeflowError, match="needs a model"):
        backends["compile"](flow.compile(flow.prepared()))


def test_pictures_are_read_once_in_batches(make_data):
    data, seen = make_data(), []
    pictures = compile.Pictures(data.query_images[:11], data.preprocessing, 4, seen.append)
    lengths = []
    for start in range(len(pictures)):
        pictures.set_range(start, start + 1)
        while (batch := pictures.get_next()) is not None:
            lengths.append(batch["image"].shape)
    assert [shape[0] for shape in lengths] == seen == [4, 4, 3]


def test_memory_does_not_grow_with_the_number_of_pictures(flow, make_network, tmp_path):
    """Activations of one batch of this network are 4 MB; those of 60 batches would be 240 MB."""
    size = 64
    onnx.save(make_network(size=size), tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), np.uint8)
    params = flow.compile(method="percentile").params

    def quantize(rows: list[int]) -> None:
        pictures = compile.Pictures(images[rows], Preprocessing(size), 8)
        compile.quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", pictures, params, tmp_path)

    quantize(list(range(8)) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    quantize(list(range(8)) * 60)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


def test_compile_prints_nothing_and_leaves_no_temporary_files(flow, backends, capfd, monkeypatch, tmp_path):
    task = flow.compile()
    with monkeypatch.context() as patch:
        # Any use of the system's temporary folder fails.
        patch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
        backends["compile"](task)
        assert tempfile.tempdir == str(tmp_path / "absent")
    assert capfd.readouterr() == ("", "")
    assert list(task.work.iterdir()) == []
    names = {"model.onnx", "index.npz", "preprocessing.json", "compilation_report.json"}
    names |= {"calibration_config.json", "calibration_dataset.npy"}
    assert {file.name for file in task.output.iterdir()} == names


SCRIPT = """
import sys
import tempfile
from pathlib import Path
import numpy as np
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_onnxruntime.params import CompileParams
from pokeflow_onnxruntime.stages import compile
root = Path(sys.argv[1])
images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8)
pictures = compile.Pictures(images, Preprocessing(16), 8)
compile.quantize(root / "model.onnx", root / sys.argv[2], pictures, CompileParams(), root)
"""


def test_quantization_is_the_same_in_every_process(make_network, tmp_path):
    onnx.save(make_network(), tmp_path / "model.onnx")
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), seed], check=True, env=environment)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def with_weight(model: onnx.ModelProto, name: str, value: float) -> onnx.ModelProto:
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = value
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused_by_name(flow, backends, make_network, value):
    # The ReLU after the convolution can hide a NaN from the output.
    parent = flow.student(with_weight(make_network(), "conv.weight", value))
    with pytest.raises(PokeflowError, match=r"weight 'conv\.weight' contains NaN or infinity"):
        backends["compile"](flow.compile(parent, flow.prepared()))


def test_old_opset_is_refused(flow, backends, make_network):
    with pytest.raises(PokeflowError, match=r"opset 12, .* needs 13 or later"):
        backends["compile"](flow.compile(flow.student(make_network(opset=12)), flow.prepared()))


def test_quantized_network_is_refused(flow, backends):
    task = flow.compile()
    backends["compile"](task)
    with pytest.raises(PokeflowError, match="already quantized"):
        compile.require_quantizable(task.output / "model.onnx")


def test_network_with_nothing_to_quantize_is_refused(tmp_path):
    node = helper.make_node("ReduceMean", ["image"], ["embedding"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(PokeflowError, match="no operator to quantize; it needs one of Conv, Gemm, MatMul"):
        compile.require_quantizable(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x3a\xff\xff\xff", bytes(range(256)) * 9])
def test_file_that_is_no_network_is_refused(tmp_path: Path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(PokeflowError):
        compile.require_quantizable(tmp_path / "model.onnx")


def test_missing_network_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match="no such network"):
        compile.require_quantizable(tmp_path / "model.onnx")


def test_weights_outside_the_model_folder_are_refused(tmp_path, make_network):
    model = make_network()
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    (tmp_path / "model").mkdir()
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "model" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(PokeflowError):
        compile.require_quantizable(tmp_path / "model" / "model.onnx")
    with pytest.raises(PokeflowError):
        open_network(tmp_path / "model", Preprocessing(16), 1)
