"""Stage bundle: the files that it packs, their sources, and the inputs that it refuses."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import tarfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pokeflow import PokeflowError
from pokeflow_vision import dataset
from pokeflow_vision.on_device import ON_DEVICE
from pokeflow_vision.preprocessing import Preprocessing

from ..conftest import network, small_data, unpacked

ALWAYS = {
    "bundle.json", "code/inference.py", "code/limits.json", "code/requirements.txt", "code/serve.py", "config.yaml",
    "deployment.py", "index.npz", "labels.csv", "model.onnx", "preprocessing.json",
    "code/pokeflow/__init__.py", "code/pokeflow_vision/__init__.py",
    *(f"code/{module.replace('.', '/')}.py" for module in ON_DEVICE),
}  # fmt: skip


def packed(archive):
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def three(flow, model=None):
    model, data = model or flow.model(), flow.prepared()
    return model, flow.benchmarked(model, data), data


def test_a_bundle_holds_network_gallery_labels_and_code(flow):
    archive, result = flow.bundle()
    content = packed(archive)
    assert set(content) == ALWAYS == set(result.facts["packed"])
    assert content["model.onnx"] == (flow.root / "model" / "model.onnx").read_bytes()
    assert content["index.npz"] == (flow.root / "benchmark" / "index.npz").read_bytes()
    assert json.loads(content["code/limits.json"]) == {"top": 5, "max_bytes": 20_000_000, "max_pixels": 50_000_000}
    needed = [line.partition(">=")[0] for line in content["code/requirements.txt"].decode().split()]
    assert needed == ["numpy", "onnxruntime", "opencv-python-headless", "pillow", "starlette", "uvicorn"]
    rows = list(csv.reader(io.StringIO(content["labels.csv"].decode())))
    assert rows[0] == ["card_id", "name", "set", "number"]
    assert rows[38] == ["set-37", "Pikachü, 37", "set", "37"]
    assert [path.name for path in archive.parent.iterdir()] == ["model.tar.gz"]
    assert result.metrics["size_mb"] == archive.stat().st_size / 1e6
    assert result.metrics["unpacked_mb"] == sum(map(len, content.values())) / 1e6


def test_torch_weights_and_network_but_no_state_are_packed(flow):
    model = flow.model(weights__pt=b"weights", network__json=b"{}", checkpoint__pt=b"state", history__jsonl=b"")
    content = packed(flow.bundle(*three(flow, model))[0])
    assert set(content) == ALWAYS | {"weights.pt", "network.json"}
    assert content["weights.pt"] == b"weights"


def test_bundle_describes_its_model_accuracy_and_files(flow):
    archive, _ = flow.bundle()
    content = packed(archive)
    about = json.loads(content.pop("bundle.json"))
    assert about["model"]["digest"] == "distill-digest"
    assert about["model"]["content"] == "distill-content"
    assert about["model"]["architecture"] == "small"
    assert about["accuracy"]["top1_accuracy"] == 1
    assert about["accuracy"]["protocol"].startswith("8 query views (noisy views) of 8 test cards against 40 references")
    assert about["accuracy"]["reasons"] == {}
    assert about["cards"] == 40
    sums = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in content.items()}
    assert about["files"] == sums


def test_an_unknown_accuracy_keeps_its_reason(flow):
    model, benchmark, data = three(flow)
    record = dataclasses.replace(benchmark.record, metrics={"top1_accuracy": None}, reasons={"top1_accuracy": "why"})
    archive, _ = flow.bundle(model, dataclasses.replace(benchmark, record=record), data)
    accuracy = json.loads(packed(archive)["bundle.json"])["accuracy"]
    assert accuracy["top1_accuracy"] is None
    assert accuracy["reasons"]["top1_accuracy"] == "why"
    assert accuracy["reasons"]["top5_accuracy"] == "not reported by the benchmark"


def test_bundle_bytes_do_not_depend_on_name_and_version(flow):
    inputs, contents = three(flow), []
    for named in ({}, {"model": "other", "version": "v9"}):
        for file in flow.root.rglob("*.*"):
            os.utime(file, (len(contents), len(contents)))
        flow.run("sagemaker", "bundle", _params(), *inputs, **named)
        contents.append((flow.root / "bundle" / "model.tar.gz").read_bytes())
    assert contents[0] == contents[1]


def _params():
    from pokeflow_sagemaker.bundle.params import BundleParams

    return BundleParams()


def external(location):
    """Return the small network with its weights in another file, and these weights."""
    model = network()
    (tensor,) = model.graph.initializer
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model, data


def test_external_weights_are_packed_and_loaded(flow):
    model, weights = external("parts/weights.bin")
    trained = flow.model()
    benchmark, data = three(flow, trained)[1:]
    (flow.root / "model" / "parts").mkdir()
    (flow.root / "model" / "parts" / "weights.bin").write_bytes(weights)
    (flow.root / "model" / "model.onnx").write_bytes(model.SerializeToString())
    trained = dataclasses.replace(trained, record=dataclasses.replace(trained.record, files=()))
    archive, _ = flow.bundle(trained, benchmark, data)
    assert packed(archive)["parts/weights.bin"] == weights
    folder, code = unpacked(archive, flow.root / "opt")
    assert code.predict_fn(small_data().references[5], code.model_fn(str(folder)))["matches"][0]["card_id"] == "set-5"


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "a/../../secret"])
def test_weights_outside_the_models_folder_are_refused(flow, location):
    inputs = three(flow)
    (flow.root / "secret").write_bytes(b"secret")
    (flow.root / "model" / "model.onnx").write_bytes(external(location)[0].SerializeToString())
    with pytest.raises(PokeflowError, match="not a safe path"):
        flow.bundle(*inputs)


@pytest.mark.parametrize("name", ["weights.pt", "model.onnx", "preprocessing.json"])
def test_a_link_is_refused(flow, name):
    inputs = three(flow)
    (flow.root / "secret").write_bytes((flow.root / "model" / name).read_bytes() if name != "weights.pt" else b"")
    (flow.root / "model" / name).unlink(missing_ok=True)
    (flow.root / "model" / name).symlink_to(flow.root / "secret")
    with pytest.raises(PokeflowError, match="is a link"):
        flow.bundle(*inputs)


def test_linked_folder_is_refused(flow):
    inputs = three(flow)
    (flow.root / "elsewhere").mkdir()
    (flow.root / "elsewhere" / "weights.bin").write_bytes(b"secret")
    (flow.root / "model" / "parts").symlink_to(flow.root / "elsewhere")
    (flow.root / "model" / "model.onnx").write_bytes(external("parts/weights.bin")[0].SerializeToString())
    with pytest.raises(PokeflowError, match="is a link"):
        flow.bundle(*inputs)


def test_model_without_an_onnx_network_is_refused_with_advice(flow):
    inputs = three(flow)
    (flow.root / "model" / "model.onnx").rename(flow.root / "model" / "model.hef")
    with pytest.raises(PokeflowError, match=r"distill:small has no model\.onnx.*bundle: null"):
        flow.bundle(*inputs)


def test_missing_benchmark_is_reported(flow):
    model, _, data = three(flow)
    with pytest.raises(PokeflowError, match="Put benchmark before bundle"):
        flow.bundle(model, data)


def test_files_changed_since_their_record_are_refused(flow):
    inputs = three(flow)
    onnx.save(network(dim=25), flow.root / "model" / "model.onnx")
    with pytest.raises(PokeflowError, match=r"model\.onnx: differs from its record"):
        flow.bundle(*inputs)


def test_unreadable_network_is_refused(flow):
    inputs = three(flow)
    (flow.root / "model" / "model.onnx").write_bytes(b"\x08\x08\x3a\xff\xff\xff")
    with pytest.raises(PokeflowError, match="not a readable network"):
        flow.bundle(*inputs)


def test_a_gallery_of_other_cards_is_refused(flow):
    model, benchmark, _ = three(flow)
    data = small_data()
    turned = dataclasses.replace(data, cards=data.cards[::-1])
    with pytest.raises(PokeflowError, match="has other cards than the data set"):
        flow.bundle(model, benchmark, flow.prepared(turned))


def test_a_gallery_or_model_of_other_preprocessing_is_refused(flow):
    model, benchmark, _ = three(flow)
    other = dataclasses.replace(small_data(), preprocessing=Preprocessing(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    data = flow.prepared(other)
    with pytest.raises(PokeflowError, match=r"preprocessing .* differs"):
        flow.bundle(model, benchmark, data)
    dataset.read(data.folder).preprocessing.write(model.folder)
    with pytest.raises(PokeflowError, match="its index was built with preprocessing"):
        flow.bundle(model, benchmark, data)


def test_a_hostile_gallery_is_refused(flow):
    inputs = three(flow)
    np.savez(flow.root / "benchmark" / "index.npz", embeddings=np.asarray([{}], object))
    with pytest.raises(PokeflowError, match="not a readable gallery"):
        flow.bundle(*inputs)
    np.savez_compressed(flow.root / "benchmark" / "index.npz", embeddings=np.zeros((1, 1), np.float32))
    with pytest.raises(PokeflowError, match="it is compressed"):
        flow.bundle(*inputs)
    (flow.root / "benchmark" / "index.npz").unlink()
    with pytest.raises(PokeflowError, match=r"index\.npz: does not exist"):
        flow.bundle(*inputs)
