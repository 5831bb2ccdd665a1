"""A registered model is loaded from MLflow in a separate process and folder, as users do."""

import base64
import contextlib
import io
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pokeflow import PokeflowError
from pokeflow.gates import Gate
from pokeflow_mlflow import pyfunc
from pokeflow_mlflow.params import RegisterParams
from pokeflow_mlflow.stages import register
from pokeflow_vision import index, preprocessing, retrieval
from pokeflow_vision.dataset import Card, Dataset
from pokeflow_vision.preprocessing import Preprocessing

SPEC = Preprocessing(size=8)
CARDS = 12
FIGURES = {"top1_accuracy": 0.95}
# A warning of MLflow's own import.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")


def card_dataset():
    """Return a data set of cards of one colour each, which a network of mean colours can distinguish."""
    colours = np.random.default_rng(5).integers(0, 256, (CARDS, 1, 1, 3), np.uint8)
    references = np.broadcast_to(colours, (CARDS, 20, 14, 3)).copy()
    cards = tuple(Card(f"set-{i}", f"Pikachü {i}", "set", str(i), "", "test") for i in range(CARDS))
    return Dataset({}, SPEC, cards, references, (), references[:0])


@pytest.fixture(scope="module")
def network():
    """Return an ONNX file whose embedding is the mean of each colour channel."""
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


def embed(pictures):
    return preprocessing.normalize(preprocessing.to_square(pictures, SPEC), SPEC).mean((2, 3))


@pytest.fixture
def folder(network, tmp_path):
    """Return a folder with the files of a registered model, as MLflow unpacks them."""
    model = tmp_path / "model"
    model.mkdir()
    SPEC.write(model)
    (model / "model.onnx").write_bytes(network)
    data = card_dataset()
    index.write(model, index.build(data, embed(data.references)))
    return model


@pytest.fixture
def model(folder):
    return pyfunc._load_pyfunc(str(folder))


@pytest.fixture
def job(folder, make_input, task, uri):
    """Return a function that creates the register task of that model; without ``gallery`` it has no benchmark."""

    def make(*, at=uri, gallery=True, **params):
        whole = {name: (folder / name).read_bytes() for name in ("model.onnx", preprocessing.FILE)}
        parts = [make_input(whole)]
        if gallery:
            parts.append(
                make_input(
                    {index.FILE: (folder / index.FILE).read_bytes()}, stage="benchmark", digest="beef", metrics=FIGURES
                )
            )
        return task("register", RegisterParams(at, **params), *parts)

    return make


USE = """
import pickle, sys, mlflow
from mlflow import pyfunc
mlflow.set_tracking_uri(sys.argv[1])
loaded = pyfunc.load_model(sys.argv[2])
answers = [(loaded.predict(value, params=params) if params else loaded.predict(value))
           for value, params in pickle.load(sys.stdin.buffer)]
sys.stdout.buffer.write(pickle.dumps(answers))
"""


def predict_elsewhere(uri, model_uri, tmp_path, *calls):
    """Return the predictions of a separate process that knows only the registry."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    command = [sys.executable, "-c", USE, uri, model_uri]
    done = subprocess.run(command, input=pickle.dumps(calls), capture_output=True, cwd=elsewhere, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"WARNING" not in done.stderr, done.stderr.decode()  # no mismatch of dependencies
    return pickle.loads(done.stdout)


def png(picture):
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def best(answers):
    return [answer["matches"][0]["card_id"] for answer in answers]


@pytest.mark.slow
def test_registered_model_works_without_the_project_files(job, uri, tmp_path):
    registering = job()
    model_uri = register.run(registering).facts["model_uri"]
    for item in registering.inputs:
        shutil.rmtree(item.folder)

    card = card_dataset().references[7]
    (answers,) = predict_elsewhere(uri, model_uri, tmp_path, (card, {"top": 3}))

    assert best(answers) == ["set-7"]
    assert [match["score"] for match in answers[0]["matches"]] == sorted(
        (match["score"] for match in answers[0]["matches"]), reverse=True
    )
    assert len(answers[0]["matches"]) == 3
    assert answers[0]["matches"][0] | {"score": 1} == {
        "card_id": "set-7", "name": "Pikachü 7", "set": "set", "number": "7", "score": 1,
    }  # fmt: skip


@pytest.mark.slow
def test_every_form_of_a_picture_gives_the_same_answer(job, uri, tmp_path):
    pandas = pytest.importorskip("pandas")
    model_uri = register.run(job()).facts["model_uri"]
    cards = card_dataset().references[[3, 9]]
    files = [png(card) for card in cards]
    ragged = np.empty(2, object)
    ragged[:] = [cards[0], cards[1][:10]]

    forms = [
        cards,
        list(cards),
        [cards[0], cards[1][:5]],
        ragged,
        cards.tolist(),
        files,
        np.asarray(files, object),
        [base64.b64encode(file).decode() for file in files],
        pandas.DataFrame({"image": files}),
        pandas.DataFrame({"image": list(cards)}),
        pandas.Series(files),
        {"image": files},
        [{"image": base64.b64encode(file).decode()} for file in files],
    ]
    for answers in predict_elsewhere(uri, model_uri, tmp_path, *((form, None) for form in forms)):
        assert best(answers) == ["set-3", "set-9"]


@pytest.mark.slow
def test_params_set_number_and_kind_of_outputs(job, uri, tmp_path):
    model_uri = register.run(job()).facts["model_uri"]
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)

    usual, all_cards, embeddings = predict_elsewhere(
        uri, model_uri, tmp_path, (pictures, None), (pictures, {"top": 1000}), (pictures, {"output": "embedding"})
    )

    assert [len(answer["matches"]) for answer in usual] == [5] * 40
    assert [len(answer["matches"]) for answer in all_cards] == [CARDS] * 40
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, embed(pictures), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_model_metadata_matches_what_mlflow_writes(job, uri, monkeypatch):
    pytest.importorskip("pandas")
    import mlflow
    from mlflow.models import Model, ModelSignature, infer_signature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    model_uri = register.run(job()).facts["model_uri"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    info = mlflow.models.get_model_info(model_uri)

    answer = [{"matches": [{"card_id": "a", "name": "b", "set": "c", "number": "d", "score": 0.5}]}]
    expected = ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=infer_signature(model_output=answer).outputs,
        params=ParamSchema([ParamSpec("top", DataType.long, 5), ParamSpec("output", DataType.string, "matches")]),
    )
    assert info.signature == expected
    assert info.signature.to_dict() == expected.to_dict()
    assert info.metadata["pokeflow.digest"] == "0123456789abcdef"

    (example,) = Model.load(model_uri).load_input_example(model_uri)
    (same,) = Model.load(model_uri).load_input_example()
    (loaded,) = mlflow.pyfunc.load_model(model_uri).input_example
    assert example == same == loaded
    with Image.open(io.BytesIO(base64.b64decode(example))) as picture:
        picture.verify()
        assert picture.size == (60, 84)


def test_requirements_have_names_and_versions_but_no_urls(job, uri, monkeypatch):
    pytest.importorskip("pandas")
    import mlflow
    import onnxruntime

    model_uri = register.run(job()).facts["model_uri"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    needs = Path(mlflow.pyfunc.get_model_dependencies(model_uri)).read_text()
    assert f"onnxruntime=={onnxruntime.__version__}\n" in needs
    assert "pokeflow-mlflow[predict]==" in needs
    assert "://" not in needs
    conda = Path(mlflow.pyfunc.get_model_dependencies(model_uri, format="conda")).read_text()
    assert json.loads(conda)["dependencies"][-1]["pip"] == needs.splitlines()


@pytest.mark.slow
def test_model_without_benchmark_returns_only_embeddings(job, uri, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    import mlflow

    model_uri = register.run(job(gallery=False)).facts["model_uri"]
    pictures = card_dataset().references[:2]

    (embeddings,) = predict_elsewhere(uri, model_uri, tmp_path, (pictures, None))
    np.testing.assert_allclose(embeddings, embed(pictures), rtol=1e-4, atol=1e-6)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert mlflow.models.get_model_info(model_uri).signature.outputs.is_tensor_spec()
    with pytest.raises(mlflow.MlflowException, match="was registered without a benchmark"):
        mlflow.pyfunc.load_model(model_uri).predict(pictures, params={"output": "matches"})


@pytest.mark.slow
def test_model_in_a_bucket_is_loaded_elsewhere_by_alias(
    job,
    s3,
    tmp_path,
    monkeypatch,
):
    monkeypatch.setenv("MLFLOW_S3_STORE_CACHE", str(tmp_path / "one"))
    uri = f"{s3.uri}/project/cards/experiments/mlflow"
    facts = register.run(job(at=uri, gates={"top1_accuracy": Gate(min=0.9)})).facts

    assert facts["source"].startswith("s3://")
    assert facts["alias"] == "approved"
    card = card_dataset().references[5]
    monkeypatch.setenv("MLFLOW_S3_STORE_CACHE", str(tmp_path / "other"))
    by_alias = f"models:/{facts['registered_model']}@approved"
    (answers,) = predict_elsewhere(uri, by_alias, tmp_path, (card, None))
    assert best(answers) == ["set-5"]


def test_benchmarked_model_is_a_separate_version(job):
    assert register.run(job(gallery=False)).facts["registry_version"] == 1
    assert register.run(job()).facts["registry_version"] == 2
    assert register.run(job(gallery=False)).facts["registry_version"] == 1


def test_answers_match_the_recognition_protocol(model):
    pictures = np.random.default_rng(1).integers(0, 256, (70, 8, 8, 3), np.uint8)
    gallery = embed(card_dataset().references)
    rows, scores = retrieval.nearest(embed(pictures), gallery, 4)

    answers = model.predict(pictures, {"top": 4})

    assert [[m["card_id"] for m in a["matches"]] for a in answers] == [[f"set-{i}" for i in row] for row in rows]
    np.testing.assert_allclose([[m["score"] for m in a["matches"]] for a in answers], scores, atol=1e-5)


def test_no_pictures_give_no_answers(model):
    assert model.predict([]) == []
    assert model.predict([], {"output": "embedding"}).shape == (0, 3)


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"top": 0}, "top: 0 is not between"),
        ({"top": 1001}, "top: 1001 is not between"),
        ({"output": "embeding"}, "Did you mean 'embedding'"),
    ],
)
def test_invalid_params_are_reported(model, params, fault):
    from mlflow import MlflowException

    with pytest.raises(MlflowException, match=fault) as error:
        model.predict(card_dataset().references, params)
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"


def test_loading_refuses_a_gallery_of_another_network(folder):
    data = card_dataset()
    index.write(folder, index.build(data, np.zeros((CARDS, 4))))
    with pytest.raises(PokeflowError, match=r"the network returns 3 values, but index\.npz has 4"):
        pyfunc._load_pyfunc(str(folder))

    index.write(folder, index.build(data, embed(data.references)))
    Preprocessing(size=8, mean=(0, 0, 0)).write(folder)
    with pytest.raises(PokeflowError, match="was built with preprocessing"):
        pyfunc._load_pyfunc(str(folder))


def post(address, payload):
    """Post to a scoring server, and return the status and the answer."""
    body = json.dumps(payload).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def scoring_server(job, uri, tmp_path):
    """Run ``mlflow models serve`` with the registered model, and return its address."""
    for module in ("flask", "fastapi", "uvicorn"):
        pytest.importorskip(module)
    model_uri = register.run(job()).facts["model_uri"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    # MLflow starts uvicorn from PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    address, log_file = f"http://127.0.0.1:{port}", tmp_path / "serve.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, env=environment, start_new_session=True
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=2).close()
                break
            except OSError:
                time.sleep(0.25)
            if process.poll() is not None:
                break
        else:
            pytest.fail(log_file.read_text())
        assert process.poll() is None, log_file.read_text()
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.mark.long
def test_scoring_server_answers_json_and_rejects_bad_pictures(scoring_server, tmp_path):
    card = card_dataset().references[4]
    encoded = base64.b64encode(png(card)).decode()

    for inputs in ([encoded], {"image": encoded}, card.tolist(), [card.tolist()]):
        status, answer = post(scoring_server, {"inputs": inputs, "params": {"top": 2}})
        assert status == 200, answer
        assert best(answer["predictions"]) == ["set-4"]
        assert len(answer["predictions"][0]["matches"]) == 2
    status, answer = post(scoring_server, {"inputs": [encoded], "params": {"output": "embedding"}})
    np.testing.assert_allclose(answer["predictions"], embed([card]), rtol=1e-4, atol=1e-6)

    example = next((tmp_path / "store").rglob("serving_input_example.json"))
    assert post(scoring_server, json.loads(example.read_text()))[0] == 200

    secret = tmp_path / "secret.png"
    secret.write_bytes(png(card))
    for hostile, sentence in (
        ([str(secret)], "Paths are not read"),
        ([base64.b64encode(b"no picture").decode()], "not a readable image"),
        ([[[[0, 0, 300]]]], "Send uint8"),
    ):
        status, answer = post(scoring_server, {"inputs": hostile})
        assert (status, sentence in answer["message"]) == (400, True), answer
