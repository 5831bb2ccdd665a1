"""Test the calibration pictures: their selection, the stored array, and its description."""

import hashlib
import json
import resource

import numpy as np
import pytest

from pokeflow import PokeflowError
from pokeflow_onnxruntime.params import CompileParams
from pokeflow_onnxruntime.stages import compile
from pokeflow_vision import calibration
from pokeflow_vision.preprocessing import Preprocessing, to_square


@pytest.fixture
def compiled(flow, backends):
    """compiled(**params) → the folder of a compiled network, its calibration array, the description and the result."""

    def run(**params):
        task = flow.compile(**params)
        result = backends["compile"](task)
        array = np.load(task.output / "calibration_dataset.npy", allow_pickle=False)
        return task.output, array, json.loads((task.output / "calibration_config.json").read_text()), result

    return run


def test_kept_array_has_the_resized_captures(compiled, make_data):
    _, array, _, result = compiled()
    data = make_data()
    assert (array.dtype, array.shape) == (np.uint8, (32, 16, 16, 3))
    assert np.array_equal(array, to_square(data.query_images[calibration.rows(data, 32)], data.preprocessing))
    assert result.facts["calibration_images"] == 32


def test_description_explains_the_array(compiled, make_data):
    folder, array, config, _ = compiled()
    assert config["file"] == "calibration_dataset.npy"
    assert config["sha256"] == hashlib.sha256((folder / config["file"]).read_bytes()).hexdigest()
    assert (config["shape"], config["dtype"], config["layout"]) == (list(array.shape), "uint8", "NHWC RGB")
    assert config["range"] == [0, 255]
    assert (config["count"], config["preprocessing"]) == (32, make_data().preprocessing.hash)
    assert "(x / 255 - mean) / std" in config["normalized_by"]
    assert config["network_input"]["from"] == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-3)
    assert config["network_input"]["to"] == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-3)


def test_quantization_ranges_come_from_the_kept_array(compiled, flow, tmp_path):
    folder, array, _, _ = compiled(method="minmax", batch_size=5)
    pictures = compile.Pictures(array, Preprocessing(16), 5)
    params = CompileParams(method="minmax", calibration_images=32, batch_size=5)
    compile.quantize(flow.root / "student" / "model.onnx", tmp_path / "again.onnx", pictures, params, tmp_path)
    assert (tmp_path / "again.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_seed_is_described_if_the_data_set_has_one(compiled, make_data, tmp_path):
    _, _, config, _ = compiled(method="entropy")
    assert (config["seed"], config["percentile"]) == (None, None)
    assert set(config["reasons"]) == {"seed", "percentile"}
    data = make_data()
    data.about["seed"] = 7
    shown = calibration.write(tmp_path, data, None)
    config = compile.calibration_config(tmp_path, data, shown, {}, CompileParams())
    assert (config["seed"], config["reasons"]) == (7, {})


def test_array_is_written_without_loading_it(make_data, tmp_path):
    """The array written here takes 74 MB."""
    import dataclasses

    data = dataclasses.replace(make_data(views=4), preprocessing=Preprocessing(512))
    calibration.write(tmp_path, data, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shown = calibration.write(tmp_path, data, 94)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
    assert shown.nbytes > 70_000_000
    # Identical to the bytes that numpy writes.
    np.save(tmp_path / "numpy.npy", shown)
    assert (tmp_path / "numpy.npy").read_bytes() == (tmp_path / calibration.FILE).read_bytes()


def test_calibration_pictures_are_spread_over_train_cards(make_data):
    data = make_data()
    rows = calibration.rows(data, 24)
    assert len(set(rows)) == 24
    assert {data.queries[j].card_id for j in rows} == {card.card_id for card in data.cards if card.split == "train"}


def test_too_few_calibration_pictures_are_refused(flow, backends):
    with pytest.raises(PokeflowError, match=r"calibration_images: 256 .* has 48 .*data\.queries\.calibration"):
        backends["compile"](flow.compile(calibration_images=256))


def test_all_calibration_pictures_are_used_by_default(make_data):
    data = make_data()
    assert calibration.rows(data, None) == data.queries_of("calibration")
