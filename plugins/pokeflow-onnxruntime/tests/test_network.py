"""Test opening a network: its contract, threads and embeddings."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pokeflow import PokeflowError
from pokeflow_onnxruntime import network
from pokeflow_vision.network import embed, model_input, size_mb
from pokeflow_vision.preprocessing import Preprocessing, normalize, to_square

SPEC = Preprocessing(16)


@pytest.fixture
def opened(tmp_path):
    def saved(model: onnx.ModelProto, spec: Preprocessing = SPEC) -> network.OnnxNetwork:
        onnx.save(model, tmp_path / "model.onnx")
        return network.open_network(tmp_path, spec, 1)

    return saved


def test_network_maps_pictures_to_embeddings(opened, make_network):
    network = opened(make_network(dim=24))
    assert network.dim == 24
    assert network(np.zeros((3, 3, 16, 16), np.float32)).shape == (3, 24)


def test_threads_are_bounded_and_do_not_spin(opened, make_network):
    options = opened(make_network()).session.get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_embeddings_keep_their_order_for_any_batch_size(opened, make_network, make_data):
    data, network = make_data(), opened(make_network())
    rows = [5, 3, 70, 0, 9]
    expected = np.concatenate([network(network.prepare(to_square(data.query_images[[row]], SPEC))) for row in rows])
    for batch in (1, 2, 5, 32):
        embeddings = embed(network, data.query_images, rows, SPEC, "queries", batch=batch)
        np.testing.assert_allclose(embeddings, expected, atol=1e-5)


def test_prepare_applies_the_shared_preprocessing(opened, make_network):
    squares = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(opened(make_network()).prepare(squares[[2, 0]]), normalize(squares[[2, 0]], SPEC))


def two_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, None))
    return model


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "logits"
    return model


def collapsed(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = "e"
    model.graph.node.append(helper.make_node("ReduceMean", ["e"], ["embedding"], axes=[0], keepdims=1))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "one"
    return model


def divided(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = "e"
    model.graph.node.append(helper.make_node("Sub", ["e", "e"], ["zero"]))
    model.graph.node.append(helper.make_node("Div", ["e", "zero"], ["embedding"]))
    return model


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (two_outputs, "outputs embedding, f; must have one input 'image'"),
        (renamed, "outputs logits; must have"),
        (collapsed, r"returns \[1, 24\] for a batch of 2"),
        (divided, "not finite"),
    ],
)
def test_graph_outside_the_contract_is_refused(opened, make_network, spoil, sentence):
    with pytest.raises(PokeflowError, match=sentence):
        opened(spoil(make_network()))


@pytest.mark.parametrize(("changes", "shape"), [({"size": 32}, "32, 32"), ({"batch": 1}, r"\[1, 3, 16, 16\]")])
def test_wrong_or_static_shape_is_refused(opened, make_network, changes, shape):
    with pytest.raises(PokeflowError, match=rf"{shape}.*must have .*\[batch, 3, 16, 16\].* dynamic batch"):
        opened(make_network(**changes))


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 9])
def test_file_that_is_no_network_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(PokeflowError, match="not a network that ONNX Runtime"):
        network.open_network(tmp_path, SPEC, 1)


def test_missing_network_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match="no such network"):
        network.open_network(tmp_path, SPEC, 1)


def test_size_includes_external_weights_in_decimal_megabytes(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"0" * 1_000)
    (tmp_path / "model.onnx.data").write_bytes(b"0" * 2_000_000)
    (tmp_path / "weights.pt").write_bytes(b"0" * 500)
    assert size_mb(tmp_path, *network.FILES) == 2.001


def test_first_model_among_the_inputs_is_used(flow):
    student, data = flow.student(), flow.prepared()
    assert model_input(flow.compile(data, student)) is student
