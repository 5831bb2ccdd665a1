"""The packed code as a container runs it: unpacked into an empty folder, without pokeflow."""

import base64
import io
import json
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pokeflow_vision import on_device, preprocessing
from pokeflow_vision.recognition import RecognizeParams

from ..conftest import SPEC, done, small_data

BARE = """
import json, pathlib, sys
code = pathlib.Path(sys.argv[1], "code")
sys.path.insert(0, str(code))
import inference
model = inference.model_fn(sys.argv[1])
for kind in ("image/png", "application/json"):
    request = inference.input_fn(open(sys.argv[2] + "/" + kind.split("/")[1], "rb").read(), kind)
    print(inference.output_fn(inference.predict_fn(request, model), "application/json"))
ours = [module for name, module in sys.modules.items() if name.startswith("pokeflow")]
foreign = {module.__name__ for module in ours if not pathlib.Path(module.__file__).is_relative_to(code)}
print(json.dumps(sorted(foreign | {"torch", "onnx", "hydra", "pluggy"} & sys.modules.keys())))
"""


def png(image, **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, "PNG", **options)
    return out.getvalue()


def jpeg(image, **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, "JPEG", **options)
    return out.getvalue()


def as_json(body):
    return json.dumps({"image": base64.b64encode(body).decode()}).encode()


@pytest.fixture(scope="session")
def model(served):
    return served.code.model_fn(str(served.folder))


def test_bundle_without_pokeflow_answers_like_pokeflow(served, tmp_path):
    picture = np.asarray(Image.fromarray(small_data().query_images[11]).resize((300, 420)))
    (tmp_path / "png").write_bytes(png(picture))
    (tmp_path / "json").write_bytes(as_json(png(picture)))
    command = [sys.executable, "-I", "-c", BARE, str(served.folder), str(tmp_path)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env={})
    first, second, foreign = map(json.loads, ran.stdout.splitlines())
    assert ran.stderr == ""
    assert foreign == []
    assert first == second

    flow = served.flow
    (tmp_path / "card.png").write_bytes(png(picture))
    params = RecognizeParams(str(tmp_path / "card.png"))
    inputs = (done("distill", "student", flow.folder("model")), done("benchmark", "student", flow.folder("benchmark")))
    flow.run("target", "recognize", params, *inputs)
    expected = json.loads((flow.root / "recognize" / "matches.json").read_text())
    assert first["matches"] == expected["matches"]
    assert len(first["matches"]) == 5
    assert first["preprocessing"] == SPEC.hash
    assert first["model"] == "distill-digest"


def test_reference_image_ranks_first_with_its_labels(served, model):
    (match, *_) = served.code.predict_fn(small_data().references[37], model)["matches"]
    assert match == {
        "card_id": "set-37",
        "name": "Pikachü, 37",
        "set": "set",
        "number": "37",
        "score": pytest.approx(1),
    }


PICTURES = {
    "rgb": png,
    "jpeg": lambda image: jpeg(image, quality=70),
    "gray": lambda image: png(image.convert("L")),
    "alpha": lambda image: png(image.convert("RGBA")),
    "palette": lambda image: png(image.convert("P")),
    "bits": lambda image: png(image.convert("1")),
    "cmyk": lambda image: jpeg(image.convert("CMYK")),
    "turned": lambda image: jpeg(image, exif=orientation(6)),
    "mirrored": lambda image: png(image, exif=orientation(5)),
}


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (7, 5), (90, 63), (1, 300)])
def test_preprocessing_matches_pokeflow(served, model, tmp_path, kind, shape):
    pixels = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    body = PICTURES[kind](Image.fromarray(pixels))
    (tmp_path / "picture").write_bytes(body)
    wanted = preprocessing.load_image(tmp_path / "picture")
    content_type = "image/jpeg" if body[:2] == b"\xff\xd8" else "image/png"
    got = served.code.input_fn(body, content_type)
    assert np.array_equal(got, wanted)
    seen = []
    network = model.recognizer.network
    watched = replace(network, session=SimpleNamespace(run=lambda _, feed: seen.append(feed) or [np.ones((1, 24))]))
    served.code.predict_fn(got, replace(model, recognizer=replace(model.recognizer, network=watched)))
    assert np.array_equal(seen[0]["image"], preprocessing.normalize(preprocessing.to_square([wanted], SPEC), SPEC))


def test_bundle_carries_the_on_device_code_unchanged(served):
    for module in on_device.ON_DEVICE:
        carried = served.folder / "code" / f"{module.replace('.', '/')}.py"
        assert carried.read_bytes() == on_device.source_of(module).read_bytes()


def test_formats_other_than_jpeg_and_png_are_refused(served):
    for kind in ("GIF", "BMP", "TIFF", "WEBP", "PPM"):
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, kind)
        with pytest.raises(ValueError, match="no readable JPEG or PNG"):
            served.code.input_fn(out.getvalue(), "image/png")


@pytest.mark.parametrize("kind", ["image/jpeg", "IMAGE/PNG", "image/png; q=1", "image/jpeg;charset=x"])
def test_content_types_ignore_case_and_parameters(served, kind):
    assert served.code.input_fn(bytearray(png(np.zeros((4, 4, 3), np.uint8))), kind).shape == (4, 4, 3)


@pytest.mark.parametrize("kind", ["image/gif", "application/x-npy", "text/csv", "", None, "application/octet-stream"])
def test_unsupported_content_type_error_lists_supported_ones(served, kind):
    with pytest.raises(ValueError, match="is not supported; send image/jpeg, image/png or application/json"):
        served.code.input_fn(b"", kind)


def test_a_body_over_the_limit_is_refused(served):
    with pytest.raises(ValueError, match="400,001 bytes, the limit is 400,000"):
        served.code.input_fn(b"\0" * 400_001, "image/png")


def bomb():
    """Return a small PNG whose header declares 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def test_oversized_images_are_refused_before_decoding(served):
    with pytest.raises(ValueError, match=r"600×501 pixels, the limit is 300,000"):
        served.code.input_fn(png(Image.new("L", (600, 501))), "image/png")
    with pytest.raises(ValueError, match="DecompressionBombError"):
        served.code.input_fn(bomb(), "image/png")


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.mark.parametrize("encode", [png, jpeg])
def test_truncated_image_is_refused(served, encode):
    body = encode(NOISE)
    with pytest.raises(ValueError, match="damaged or truncated"):
        served.code.input_fn(body[: len(body) // 2], "image/png")


@pytest.mark.parametrize("body", [b"", b"no picture", bytes(range(256))])
def test_body_that_is_no_image_is_refused(served, body):
    with pytest.raises(ValueError, match="no readable JPEG or PNG"):
        served.code.input_fn(body, "image/jpeg")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"1", b"null", b'"x"', b"{}", b'{"image": 1}', b'{"image": null}', b'{"image": "\xff"}',
     '{"image": "a b"}', '{"image": "é"}', b'{"image": "YQ=="', b"[" * 100_000, b"\xff\xfe"],
)  # fmt: skip
def test_malformed_json_request_is_refused(served, body):
    with pytest.raises(ValueError, match=r"not JSON of the form|no readable JPEG"):
        served.code.input_fn(body, "application/json")


def test_body_of_a_wrong_type_is_refused(served):
    with pytest.raises(ValueError, match="is int, not bytes"):
        served.code.input_fn(10**12, "image/png")


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.sampled_from([png, jpeg]), st.data())
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_image_is_answered_or_refused(served, model, encode, data):
    content = bytearray(encode(NOISE))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        picture = served.code.input_fn(body, "image/png")
    except ValueError:
        return
    assert len(served.code.predict_fn(picture, model)["matches"]) == 5


@pytest.mark.parametrize("accept", ["application/json", "*/*", "", None, "text/html, application/*;q=0.8"])
def test_answers_are_json(served, accept):
    assert json.loads(served.code.output_fn({"matches": [{"name": "ü"}]}, accept)) == {"matches": [{"name": "ü"}]}


def test_accept_header_without_json_is_refused(served):
    with pytest.raises(ValueError, match="application/json only"):
        served.code.output_fn({}, "application/x-npy")


def test_bundle_with_mismatched_files_does_not_open(served, tmp_path):
    import shutil

    for name, content, fault in (
        ("preprocessing.json", json.dumps({"size": 16, "mean": [0] * 3, "std": [1] * 3, "hash": SPEC.hash}), "preproc"),
        ("labels.csv", "card_id,name,set,number\n", "do not list the same cards"),
        ("index.npz", "damaged", "not a readable gallery"),
    ):
        folder = tmp_path / name
        shutil.copytree(served.folder, folder)
        (folder / name).write_text(content)
        with pytest.raises(ValueError, match=fault):
            served.code.model_fn(str(folder))


def test_functions_have_the_signatures_of_sagemakers_toolkit(served):
    """The toolkit counts parameters and passes its context to a function that takes one more."""
    import inspect

    counts = [len(inspect.signature(getattr(served.code, f"{f}_fn")).parameters) for f in ("model", "input", "predict")]
    assert [*counts, len(inspect.signature(served.code.output_fn).parameters)] == [1, 2, 2, 2]
