"""Test the calibration set: from the data set or the user's pictures, which must look like captures of cards."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_vision import calibration, comparison
from pokeflow_vision.dataset import Card, Dataset, Query
from pokeflow_vision.preprocessing import Preprocessing

SIZE, CARDS = 8, 24
SPEC = Preprocessing(SIZE)


def cards_in_colour(seed=0):
    """Return captures of unevenly lit cards in warm colours (more red than blue), like Pokémon cards."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 200, (CARDS, 2, 2, 3)) + np.asarray([55, 30, 0])
    references = tiles.repeat(SIZE // 2, axis=1).repeat(SIZE // 2, axis=2).astype(np.uint8)
    splits = ["train"] * 16 + ["val"] * 4 + ["test"] * 4
    cards = tuple(Card(f"set-{i}", f"Card {i}", "set", str(i), "", split) for i, split in enumerate(splits))
    rows = [(i, view) for i in range(CARDS) for view in range(4)]
    queries = tuple(Query(f"set-{i}", splits[i].replace("train", "calibration"), view) for i, view in rows)
    light = rng.uniform(0.7, 1.1, (len(rows), 1, 1, 1))
    shown = (np.stack([references[i] for i, _ in rows]) * light).clip(0, 255).astype(np.uint8)
    return Dataset({"queries": "lit captures", "seed": seed}, SPEC, cards, references, queries, shown)


class Colours:
    """A network whose embedding is the picture itself, relative to middle grey."""

    dim = SIZE * SIZE * 3

    def prepare(self, squares):
        return squares

    def __call__(self, prepared):
        return prepared.reshape(len(prepared), -1).astype(np.float32) - 127


@pytest.fixture
def data():
    return cards_in_colour()


@pytest.fixture
def own(tmp_path):
    """own(array) → the path of an .npy file that contains it."""

    def saved(array):
        np.save(tmp_path / "own.npy", array)
        return str(tmp_path / "own.npy")

    return saved


def test_captures_of_train_cards_are_in_domain(data, tmp_path):
    shown = calibration.write(tmp_path, data, 48)
    network = Colours()
    known = comparison.embeddings_of(network, data, data.queries_of("val"), "fp32")
    distances = calibration.require_in_domain(shown, data, network, known)
    assert len(distances) == 7
    assert max(map(abs, distances.values())) < 1


@pytest.mark.parametrize(
    ("pictures", "statistic"),
    [
        (lambda rng: rng.integers(0, 256, (40, SIZE, SIZE, 3)), "spread"),
        (lambda rng: np.zeros((40, SIZE, SIZE, 3)), "red_mean"),
        (lambda rng: rng.normal(0, 1, (40, SIZE, SIZE, 3)).clip(0, 4), "mean"),
    ],
    ids=["noise", "black", "normalized and cut to bytes"],
)
def test_pictures_unlike_captures_are_refused(data, own, tmp_path, pictures, statistic):
    file = own(pictures(np.random.default_rng(1)).astype(np.uint8))
    shown = calibration.write(tmp_path, data, None, file)
    with pytest.raises(
        PokeflowError, match=rf"not like the val captures: .*{statistic}.*Calibrate on captures of cards"
    ):
        calibration.require_in_domain(shown, data)


def test_pictures_of_wrong_structure_are_refused(data, own, tmp_path):
    rng = np.random.default_rng(2)
    pixels = data.query_images[:64].reshape(64, -1, 3)
    shuffled = np.stack([rng.permutation(picture) for picture in pixels]).reshape(64, SIZE, SIZE, 3)
    shown = calibration.write(tmp_path, data, None, own(shuffled))
    network = Colours()
    known = comparison.embeddings_of(network, data, data.queries_of("val"), "fp32")
    assert set(calibration.require_in_domain(shown, data)) == {
        f"{c}_{what}" for c in ("red", "green", "blue") for what in ("mean", "spread")
    }
    with pytest.raises(PokeflowError, match="nearest_cosine -"):
        calibration.require_in_domain(shown, data, network, known)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((40, SIZE, SIZE, 3), np.float32), "contains float32"),
        (np.zeros((40, 3, SIZE, SIZE), np.uint8), r"contains uint8\[40, 3, 8, 8\]"),
        (np.zeros((40, 4, 4, 3), np.uint8), r"is uint8 \[N, 8, 8, 3\]"),
        (np.zeros((31, SIZE, SIZE, 3), np.uint8), "contains 31 pictures, but 32 are needed"),
    ],
    ids=["floats", "channels first", "another size", "too few"],
)
def test_array_of_another_form_is_refused(data, own, tmp_path, array, message):
    with pytest.raises(PokeflowError, match=message):
        calibration.write(tmp_path, data, None, own(array))


@given(content=st.binary(max_size=200))
def test_file_that_is_no_array_is_refused(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "own.npy").write_bytes(content)
    with pytest.raises(PokeflowError, match=r"own\.npy: not a readable .npy"):
        calibration.write(folder, cards_in_colour(), None, str(folder / "own.npy"))


def test_array_of_pickled_objects_is_refused(data, own, tmp_path):
    with pytest.raises(PokeflowError, match=r"not a readable \.npy"):
        calibration.write(tmp_path, data, None, own(np.asarray([{"run": "me"}], object)))


def test_npz_archive_is_refused(data, tmp_path):
    np.savez(tmp_path / "own.npz", pictures=np.zeros((40, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(PokeflowError, match=r"own\.npz: not a readable \.npy"):
        calibration.write(tmp_path, data, None, str(tmp_path / "own.npz"))


def test_own_pictures_are_sampled_evenly(data, own, tmp_path):
    pictures = np.arange(64, dtype=np.uint8)[:, None, None, None] * np.ones((1, SIZE, SIZE, 3), np.uint8)
    shown = calibration.write(tmp_path, data, 32, own(pictures))
    assert shown[:, 0, 0, 0].tolist() == list(range(0, 64, 2))


def test_description_states_the_source_of_the_pictures(data, own, tmp_path):
    file = own(data.query_images[:40])
    settings = {"normalized_by": "the chip", "network_input": {}, "domain": {"red_mean": 0.1}, "level": 2}
    theirs = calibration.config(tmp_path, data, calibration.write(tmp_path, data, None, file), file=file, **settings)
    ours = calibration.config(tmp_path, data, calibration.write(tmp_path, data, 40), **settings)
    assert theirs["source"] == "the user's own pictures (calibration_file)"
    assert (theirs["seed"], theirs["reasons"]) == (None, {"seed": "the user supplied the pictures; none were drawn"})
    assert ours["source"] == "calibration queries of the data set: lit captures"
    assert (ours["seed"], ours["reasons"], ours["count"], ours["level"]) == (0, {}, 40, 2)
    assert json.loads(json.dumps(ours))["domain"] == {"red_mean": 0.1}


def test_fingerprint_depends_on_content_not_file_name(own, tmp_path):
    params = SimpleNamespace(calibration_images=None, calibration_file=own(np.zeros(4, np.uint8)))
    other = SimpleNamespace(calibration_images=None, calibration_file=str(tmp_path / "copy.npy"))
    (tmp_path / "copy.npy").write_bytes((tmp_path / "own.npy").read_bytes())
    assert calibration.fingerprint(params) == calibration.fingerprint(other) != ""
    assert calibration.fingerprint(SimpleNamespace(calibration_images=8, calibration_file=None)) == ""


def test_invalid_parameters_are_reported():
    params = SimpleNamespace(calibration_images=0, calibration_file="absent.npy")
    assert dict(calibration.check(params)) == {
        "calibration_images": "0 is below 1",
        "calibration_file": "no file 'absent.npy'",
    }
