"""The network before it is compiled: every obstacle is named, and the written network has fixed shapes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pokeflow import PokeflowError
from pokeflow_hailo.compile import graph
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import network
from pokeflow_vision.testing.data import SPEC


def checked(model, tmp_path, spec=SPEC, **more):
    onnx.save(model, tmp_path / "model.onnx")
    return graph.check_and_write(tmp_path / "model.onnx", tmp_path / "static.onnx", spec, **more)


def exported(opset):
    model = network.model()
    model.opset_import[0].version = opset
    return model


def replaced(model, name, op, **attributes):
    """Return the network with one node's operator replaced."""
    node = next(node for node in model.graph.node if node.name == name)
    other = helper.make_node(op, node.input, node.output, name=name, **attributes)
    node.CopyFrom(other)
    return model


def sizes(value) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_valid_network_is_written_with_fixed_shapes(tmp_path):
    summary = checked(network.model(), tmp_path)
    assert (summary.dim, summary.opset, summary.parameters) == (32, 17, 448 + 4640 + 512 * 32 + 32)
    assert summary.operators == {"AveragePool": 1, "Conv": 2, "Flatten": 1, "Gemm": 1, "Relu": 2}
    static = onnx.load(tmp_path / "static.onnx")
    assert sizes(static.graph.input[0]) == [1, 3, 32, 32]
    assert sizes(static.graph.output[0]) == [1, 32]
    assert {v.name: sizes(v) for v in static.graph.value_info}["seen"] == [1, 16, 16, 16]


def test_external_weights_are_merged_into_one_file(tmp_path):
    onnx.save(network.model(), tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0, location="w.data")
    graph.check_and_write(tmp_path / "model.onnx", tmp_path / "static.onnx", SPEC)
    (tmp_path / "w.data").unlink()
    onnx.checker.check_model(onnx.load(tmp_path / "static.onnx"))


def test_unsupported_operators_are_named_with_node_and_advice(tmp_path):
    model = replaced(replaced(network.model(), "told.relu", "Gelu"), "flat", "NonZero")
    model.opset_import[0].version = 20
    with pytest.raises(PokeflowError) as caught:
        checked(model, tmp_path)
    message = str(caught.value)
    assert "node 'told.relu': operator Gelu is not known to be supported. Export with an opset" in message
    assert "node 'flat': operator NonZero is not known to be supported. Replace it by other operators" in message
    assert len(message.splitlines()) == 3


def test_too_old_opset_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match=r"opset 10: 11 to 17 are supported\. Export it with opset 17"):
        checked(exported(10), tmp_path)


def test_later_opset_is_converted_and_computes_the_same(tmp_path):
    model = replaced(exported(18), "told.relu", "Clip")
    mean = helper.make_node("ReduceMean", ["m", "axes"], ["embedding"], name="mean", keepdims=0, noop_with_empty_axes=0)
    model.graph.node[-1].output[0] = "g"
    model.graph.node.extend([helper.make_node("Unsqueeze", ["g", "axes"], ["m"], name="m"), mean])
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([1], np.int64), "axes"))
    summary = checked(model, tmp_path)
    static = onnx.load(tmp_path / "static.onnx")
    assert summary.opset == static.opset_import[0].version == 17
    shown = {"image": np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)}
    files = (tmp_path / "model.onnx", tmp_path / "static.onnx")
    before, after = (onnxruntime.InferenceSession(file).run(None, shown)[0] for file in files)
    np.testing.assert_array_equal(before, after)


def test_opset_that_cannot_be_converted_is_refused(tmp_path):
    model = replaced(exported(20), "told.relu", "Gelu")
    with pytest.raises(
        PokeflowError, match=r"has opset 20 and cannot be converted to 17 \(.*\)\. Export it with opset 17"
    ):
        checked(model, tmp_path, allowed=("Gelu",))


def test_operator_can_be_allowed_explicitly(tmp_path):
    model = replaced(network.model(), "told.relu", "Selu")
    with pytest.raises(PokeflowError, match="operator Selu"):
        checked(model, tmp_path)
    assert checked(model, tmp_path, allowed=("Selu",)).operators["Selu"] == 1


def test_unnamed_node_is_identified_by_its_output(tmp_path):
    model = replaced(network.model(), "told.relu", "Selu")
    next(node for node in model.graph.node if node.name == "told.relu").name = ""
    with pytest.raises(PokeflowError, match=r"node '\(of told\.relu\)': operator Selu"):
        checked(model, tmp_path)


def test_another_vendors_operator_is_refused(tmp_path):
    model = network.model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    node = next(node for node in model.graph.node if node.name == "told.relu")
    node.domain, node.op_type = "com.microsoft", "FusedGelu"
    with pytest.raises(PokeflowError, match=r"node 'told.relu': com\.microsoft\.FusedGelu is not in a standard domain"):
        checked(model, tmp_path)


def test_many_faults_are_truncated_with_a_count(tmp_path):
    model = network.model()
    last = "told.relu"
    for i in range(100):
        model.graph.node.insert(4 + i, helper.make_node("Selu", [last], [f"s{i}"], name=f"selu{i}"))
        last = f"s{i}"
    next(node for node in model.graph.node if node.name == "pooled").input[0] = last
    with pytest.raises(PokeflowError, match=r"… and 88 more$"):
        checked(model, tmp_path)


def test_data_dependent_shape_is_refused_with_its_node(tmp_path):
    model = network.model()
    flatten = next(node for node in model.graph.node if node.name == "flat")
    flatten.CopyFrom(helper.make_node("Reshape", ["pooled", "shape"], ["flat"], name="reshape"))
    nodes = [
        helper.make_node("ReduceMax", ["pooled"], ["top"], keepdims=0, name="top"),
        helper.make_node("Cast", ["top"], ["count"], to=TensorProto.INT64, name="cast"),
        helper.make_node("Unsqueeze", ["count", "zero"], ["counts"], name="unsqueeze"),
        helper.make_node("Concat", ["one", "counts"], ["shape"], axis=0, name="concat"),
    ]
    at = [*model.graph.node].index(next(node for node in model.graph.node if node.name == "reshape"))
    for i, node in enumerate(nodes):
        model.graph.node.insert(at + i, node)
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.asarray([v], np.int64), name) for name, v in (("zero", 0), ("one", 1))]
    )
    with pytest.raises(
        PokeflowError, match=r"node 'reshape': Reshape gives 'flat' of \[1, \?\]; every shape must be fixed"
    ):
        checked(model, tmp_path)


def test_an_output_that_is_no_vector_is_refused(tmp_path):
    model = network.model()
    for _ in range(2):
        model.graph.node.pop()
    model.graph.node[-1].output[0] = "embedding"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    for size in ("batch", 32, 4, 4):
        dim = model.graph.output[0].type.tensor_type.shape.dim.add()
        setattr(dim, "dim_param" if isinstance(size, str) else "dim_value", size)
    with pytest.raises(PokeflowError, match=r"output 'embedding' is \[1, 32, 4, 4\]; must be \[1, D\]"):
        checked(model, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_with_nan_or_infinity_are_named(tmp_path, value):
    model = network.model()
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights.flat[5] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "conv1.weight"))
    with pytest.raises(PokeflowError, match=r"weight 'conv1\.weight' contains NaN or infinity\. Train the model again"):
        checked(model, tmp_path)


def test_unexpected_inputs_and_outputs_are_refused(tmp_path):
    with pytest.raises(
        PokeflowError, match=r"input 'image' is \[None, 3, 32, 32\]; must be float32 \[batch, 3, 16, 16\]"
    ):
        checked(network.model(), tmp_path, Preprocessing(16))
    model = network.model()
    model.graph.input[0].name = model.graph.node[0].input[0] = "picture"
    model.graph.output[0].name = model.graph.node[-1].output[0] = "vector"
    with pytest.raises(
        PokeflowError, match=r"its inputs are picture; must be one, 'image'[\s\S]*its outputs are vector"
    ):
        checked(model, tmp_path)


def test_contradicting_shapes_are_refused(tmp_path):
    model = network.model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 33
    with pytest.raises(PokeflowError, match="contradict"):
        checked(model, tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x3a\xff\xff\xff", bytes(range(256)) * 9])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(PokeflowError):
        graph.check_and_write(tmp_path / "model.onnx", tmp_path / "static.onnx", SPEC)
    assert not (tmp_path / "static.onnx").exists()


def test_a_missing_network_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match="no such network"):
        graph.check_and_write(tmp_path / "model.onnx", tmp_path / "static.onnx", SPEC)


def test_weights_outside_the_models_folder_are_refused(tmp_path):
    model = network.model()
    (tmp_path / "secret").write_bytes(b"\0" * 65536)
    (tmp_path / "model").mkdir()
    tensor = model.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "model" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(PokeflowError, match="not a valid ONNX network"):
        graph.check_and_write(tmp_path / "model" / "model.onnx", tmp_path / "static.onnx", SPEC)
