import subprocess
import sys

import numpy as np
import pytest

from pokeflow.images import preprocessing
from pokeflow.images.preprocessing import Preprocessing
from pokeflow_mlflow import RegisterParams, register

SPEC = Preprocessing(size=8)


@pytest.fixture(scope="module")
def network():
    """An ONNX file whose embedding is the mean of each colour channel."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image"], ["embedding"], axes=[2, 3], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("image", kind, ["batch", 3, SPEC.size, SPEC.size])],
        [helper.make_tensor_value_info("embedding", kind, ["batch", 3])],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()


@pytest.fixture
def version(network, made, task, uri, tmp_path):
    """A registered model, as ``models:/…`` names it."""
    SPEC.write(tmp_path)
    files = {"model.onnx": network, preprocessing.FILE: (tmp_path / preprocessing.FILE).read_bytes()}
    return register.run(task("register", RegisterParams(uri), made(files))).facts["model_uri"]


LOAD = """
import sys, mlflow, numpy
from mlflow import pyfunc
mlflow.set_tracking_uri(sys.argv[1])
pictures = numpy.load(sys.argv[3])
numpy.save(sys.argv[4], pyfunc.load_model(sys.argv[2]).predict(pictures))
"""


def test_what_mlflow_loads_from_the_registry_embeds_pictures(version, uri, tmp_path):
    pytest.importorskip("pandas")
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    np.save(tmp_path / "in.npy", pictures)
    # A process of its own: mlflow.pyfunc reads the process-wide store.
    subprocess.run(
        [sys.executable, "-c", LOAD, uri, version, str(tmp_path / "in.npy"), str(tmp_path / "out.npy")], check=True
    )

    embeddings = np.load(tmp_path / "out.npy")
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, preprocessing.normalize(pictures, SPEC).mean((2, 3)), rtol=1e-4, atol=1e-6)
