"""The command ``recognize`` as a device runs it, with the code of the bundle alone."""

import json

import numpy as np
import pytest

from ..conftest import MAIN, card_dataset, jpeg, recognize, start_process
from .test_camera import video  # noqa: F401 - a fixture


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_picture_is_answered_in_a_json_line(numpy_bundle, tmp_path):
    for card in (4, 8):
        (tmp_path / f"{card}.jpg").write_bytes(jpeg(card_dataset().references[card]))
    code, out, err = recognize(numpy_bundle, str(tmp_path / "4.jpg"), str(tmp_path / "8.jpg"), "--top", "2")
    assert (code, err) == (0, "")
    answers = lines(out)
    assert [line["image"] for line in answers] == [str(tmp_path / "4.jpg"), str(tmp_path / "8.jpg")]
    assert [line["matches"][0]["card_id"] for line in answers] == ["set-4", "set-8"]
    assert {len(line["matches"]) for line in answers} == {2}
    assert {line["version"] for line in answers} == {"1.2"}


def test_table_option_prints_a_table(numpy_bundle, tmp_path):
    (tmp_path / "4.jpg").write_bytes(jpeg(card_dataset().references[4]))
    code, out, _ = recognize(numpy_bundle, str(tmp_path / "4.jpg"), "--table")
    assert code == 0
    first, second, *_ = out.splitlines()
    assert first.startswith(str(tmp_path / "4.jpg"))
    assert second.split()[1:] == ["set-4", "Pikachü", "4", "(set", "4)"]


def test_invalid_picture_is_reported_and_others_are_answered(numpy_bundle, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "good.jpg").write_bytes(jpeg(card_dataset().references[4]))
    files = [str(tmp_path / name) for name in ("missing.jpg", "bad.jpg", "good.jpg")]
    code, out, _ = recognize(numpy_bundle, *files)
    missing, bad, good = lines(out)
    assert code == 1
    assert "no such picture" in missing["error"]
    assert "not a readable image" in bad["error"]
    assert good["matches"][0]["card_id"] == "set-4"


def test_video_is_accepted_as_a_camera(numpy_bundle, video):  # noqa: F811 - the fixture
    code, out, _ = recognize(numpy_bundle, "--camera", video, "--frames", "4", "--least", "0.5")
    assert code == 0
    assert [line["matches"][0]["card_id"] for line in lines(out)] == ["set-11", "set-23"]


def test_check_describes_the_bundle(numpy_bundle):
    code, out, _ = recognize(numpy_bundle, "--check")
    assert code == 0
    assert lines(out) == [
        {
            "status": "ok",
            "model": {"name": "small", "digest": "d1"},
            "version": "1.2",
            "target": "cpu",
            "preprocessing": numpy_bundle.about["preprocessing"],
        }
    ]


@pytest.mark.parametrize("name", ["index.npz", "model/weights.npy", "lib/pokeflow_small/network.py", "labels.csv"])
def test_damaged_bundle_exits_1_with_one_sentence(numpy_bundle, tmp_path, name):
    bundle_copy = numpy_bundle.copy(tmp_path / "bundle")
    with (bundle_copy.folder / name).open("ab") as file:
        file.write(b"\n")
    code, out, err = recognize(bundle_copy, "--http", "127.0.0.1:0")
    assert (code, out) == (1, "")
    assert err.startswith(f"{bundle_copy.folder / name}: differs from bundle.json")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one of FILE…, --camera, --http and --check is required"),
        (["x.jpg", "--check"], "one of FILE…"),
        (["x.jpg", "--top", "0"], "'0' is not a number above 0"),
        (["x.jpg", "--threads", "-1"], "--threads -1 is below 0"),
    ],
)
def test_invalid_arguments_exit_2_with_a_message(numpy_bundle, arguments, message):
    code, _, err = recognize(numpy_bundle, *arguments)
    assert code == 2
    assert message in err


def test_invalid_http_address_exits_1_with_one_sentence(numpy_bundle):
    code, _, err = recognize(numpy_bundle, "--http", "127.0.0.1")
    assert code == 1
    assert err == "--http 127.0.0.1: not of the form HOST:PORT, such as 127.0.0.1:8080.\n"


def test_closed_output_ends_the_command_quietly(numpy_bundle, tmp_path):
    (tmp_path / "4.jpg").write_bytes(jpeg(card_dataset().references[4]))
    process = start_process(numpy_bundle, MAIN, *[str(tmp_path / "4.jpg")] * 2000)
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert "Traceback" not in err
    process.stderr.close()
    process.wait(120)


USED = """
import json
from pathlib import Path
from pokeflow_edge.runtime import __main__, camera, recognizer, server
recognizer.open_bundle(Path(sys.argv[1])).prove()
of = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
print(json.dumps({name: file for name, file in of.items() if file and name.startswith("pokeflow")}))
"""


@pytest.mark.parametrize("which", ["numpy_bundle", "onnx_bundle", "openvino_bundle"])
def test_only_project_code_of_the_bundle_is_used(which, request):
    bundle_copy = request.getfixturevalue(which)
    process = start_process(bundle_copy, USED, str(bundle_copy.folder))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    used = json.loads(out)
    lib = bundle_copy.folder / "lib"
    assert {name: file for name, file in used.items() if not file.startswith(str(lib))} == {}
    assert {"pokeflow.errors", "pokeflow_vision.preprocessing", "pokeflow_edge_adapter"} <= used.keys()
    assert (lib / "pokeflow" / "__init__.py").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("name", ["torch", "hydra", "pluggy", "msgspec", "pokeflow.types", "pokeflow.progress"])
def test_modules_missing_on_devices_cannot_be_imported(numpy_bundle, name):
    process = start_process(numpy_bundle, f"import {name}")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "ImportError" in err or "ModuleNotFoundError" in err


def test_bundle_folder_is_not_written_to(numpy_bundle, tmp_path):
    bundle_copy = numpy_bundle.copy(tmp_path / "bundle")
    before = sorted(bundle_copy.folder.rglob("*"))
    (tmp_path / "4.jpg").write_bytes(jpeg(np.zeros((8, 8, 3), np.uint8)))
    assert recognize(bundle_copy, str(tmp_path / "4.jpg"))[0] == 0
    assert sorted(bundle_copy.folder.rglob("*")) == before
