"""Test opening a network: its contract, settings and embeddings."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import helper

from pokeflow import PokeflowError
from pokeflow_openvino import network
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.testing import data
from pokeflow_vision.testing import network as small


@pytest.fixture
def saved(tmp_path):
    def write(model: onnx.ModelProto):
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


@pytest.fixture
def squares() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, data.SPEC.size, data.SPEC.size, 3), np.uint8)


def test_float_network_matches_numpy(saved, squares):
    opened = network.open_file(saved(small.model()), data.SPEC, 1)
    assert opened.dim == small.DIM
    np.testing.assert_allclose(opened(opened.prepare(squares)), small.reference_embeddings(squares), atol=1e-4)


@pytest.mark.slow
def test_compiled_network_is_close_to_the_float_one(compiled_model, squares):
    opened = network.open_network(compiled_model.folder, data.SPEC, 1)
    embeddings, expected = opened(opened.prepare(squares)), small.reference_embeddings(squares)
    assert embeddings.dtype == np.float32
    cosine = (embeddings * expected).sum(1) / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(expected, axis=1)
    assert 0.98 < cosine.min() < 0.999999


@pytest.mark.slow
def test_embedding_is_not_overwritten_by_the_next_call(compiled_model, squares):
    opened = network.open_network(compiled_model.folder, data.SPEC, 1)
    first = opened(opened.prepare(squares[:1]))
    kept = first.copy()
    opened(opened.prepare(squares[1:2]))
    np.testing.assert_array_equal(first, kept)


def test_embeddings_do_not_depend_on_batch_or_threads(compiled_model, squares):
    one, two = (network.open_network(compiled_model.folder, data.SPEC, threads) for threads in (1, 2))
    alone = np.concatenate([one(one.prepare(squares[i : i + 1])) for i in range(len(squares))])
    np.testing.assert_allclose(one(one.prepare(squares)), alone, atol=1e-5)
    np.testing.assert_allclose(two(two.prepare(squares)), alone, atol=1e-5)


def test_network_can_be_called_from_many_threads(compiled_model):
    """Use enough pictures for the calls to overlap."""
    opened = network.open_network(compiled_model.folder, data.SPEC, 1)
    rng = np.random.default_rng(0)
    prepared = [rng.normal(size=(64, 3, data.SPEC.size, data.SPEC.size)).astype(np.float32) for _ in range(8)]
    expected = [opened(images) for images in prepared]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda i: np.array_equal(opened(prepared[i % 8]), expected[i % 8]), range(64))
        assert all(results)


def test_precision_is_float32_and_threads_are_limited(compiled_model):
    compiled = network.compile_model(compiled_model.folder / network.FILE, data.SPEC, 1)
    properties = {name: compiled.get_property(name) for name in ("INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING")}
    assert properties == {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def two_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.output.append(helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, None))
    return model


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = model.graph.output[0].name = "logits"
    return model


def static(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


def divided(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = "e"
    model.graph.node.append(helper.make_node("Sub", ["e", "e"], ["zero"]))
    model.graph.node.append(helper.make_node("Div", ["e", "zero"], ["embedding"]))
    return model


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (two_outputs, r"outputs embedding: .*, flat.*: .*; must have one input image: f32\[\?,3,32,32\]"),
        (renamed, r"outputs logits: .*; must have"),
        (static, r"inputs image: f32\[1,3,32,32\] .*dynamic batch"),
        (divided, "not finite"),
    ],
)
def test_graph_outside_the_contract_is_refused(saved, spoil, sentence):
    with pytest.raises(PokeflowError, match=sentence):
        network.open_file(saved(spoil(small.model())), data.SPEC, 1)


def test_other_input_size_is_refused(compiled_model):
    with pytest.raises(PokeflowError, match=r"has inputs image: f32\[\?,3,32,32\].*must have .*\[\?,3,64,64\]"):
        network.open_network(compiled_model.folder, Preprocessing(64), 1)


def test_missing_network_is_refused(tmp_path):
    with pytest.raises(PokeflowError, match=r"model\.xml: no such network"):
        network.open_network(tmp_path, data.SPEC, 1)


def test_graph_without_its_weights_is_refused(compiled_model, tmp_path):
    shutil.copy(compiled_model.folder / "model.xml", tmp_path)
    with pytest.raises(PokeflowError, match="not a network that OpenVINO"):
        network.open_network(tmp_path, data.SPEC, 1)


@pytest.mark.parametrize("keep", [0, 1, 1000])
def test_graph_with_truncated_weights_is_refused(compiled_model, tmp_path, keep):
    shutil.copy(compiled_model.folder / "model.xml", tmp_path)
    (tmp_path / "model.bin").write_bytes((compiled_model.folder / "model.bin").read_bytes()[:keep])
    with pytest.raises(PokeflowError, match="not a network that OpenVINO"):
        network.open_network(tmp_path, data.SPEC, 1)


@pytest.mark.parametrize("content", [b"", b"hello", b"<net", b"<?xml version='1.0'?><net/>", bytes(range(256)) * 9])
def test_file_that_is_no_graph_is_refused(compiled_model, tmp_path, content):
    shutil.copy(compiled_model.folder / "model.bin", tmp_path)
    (tmp_path / "model.xml").write_bytes(content)
    with pytest.raises(PokeflowError, match=r"model\.xml: not a network that OpenVINO [\d.]+ can open \(.+\)\."):
        network.open_network(tmp_path, data.SPEC, 1)


def test_weights_outside_the_model_folder_are_refused(outside, tmp_path):
    (tmp_path / "student").mkdir()
    onnx.save(outside, tmp_path / "student" / "model.onnx")
    with pytest.raises(PokeflowError, match="not a network"):
        network.read(tmp_path / "student" / "model.onnx")
