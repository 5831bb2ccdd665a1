from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from pokeflow import PokeflowError
from pokeflow_torch import export, networks

from .conftest import CNN, SIZE, VIT


@pytest.mark.slow
@pytest.mark.parametrize("network", [VIT, CNN], ids=["vit", "cnn"])
def test_graph_matches_the_network_for_any_batch_size(tmp_path, network):
    torch.manual_seed(0)
    embedder = networks.build(network, SIZE).eval()
    export.write(tmp_path / "model.onnx", embedder, SIZE)
    graph = onnx.load(tmp_path / "model.onnx")
    (image,), (embedding,) = graph.graph.input, graph.graph.output
    shape = [d.dim_value or d.dim_param for d in image.type.tensor_type.shape.dim]
    assert (image.name, embedding.name) == ("image", "embedding")
    assert isinstance(shape[0], str)
    assert shape[1:] == [3, SIZE, SIZE]
    for batch in (1, 5):
        images = torch.randn(batch, 3, SIZE, SIZE)
        (got,) = ReferenceEvaluator(graph).run(None, {"image": images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(got, embedder(images)[0].numpy(), atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_graph_of_another_network_is_refused(tmp_path):
    one, other = (networks.build(CNN, SIZE).eval() for _ in range(2))
    export.write(tmp_path / "model.onnx", one, SIZE)
    with pytest.raises(PokeflowError, match="differs by"):
        export.compare(tmp_path / "model.onnx", export._Embedding(other), SIZE)


@pytest.mark.slow
def test_graph_contains_no_paths_of_the_exporting_machine(tmp_path):
    export.write(tmp_path / "model.onnx", networks.build(CNN, SIZE).eval(), SIZE)

    content = (tmp_path / "model.onnx").read_bytes()
    assert str(Path(torch.__file__).parents[1]).encode() not in content
    assert b"stack_trace" not in content
    assert b".py" not in content
