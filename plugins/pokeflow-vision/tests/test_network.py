"""An opened network of any target: what is asked of it, in which portions, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import NoParams, PokeflowError
from pokeflow_testkit.images_support import Numpy, finished, without
from pokeflow_vision import jsonfile
from pokeflow_vision.network import embed, gallery, inherited_facts, model_and_data, model_input, size_mb
from pokeflow_vision.preprocessing import Preprocessing
from pokeflow_vision.retrieval import normalize_rows
from pokeflow_vision.testing import data, network

DRAWN = data.draw_dataset()


class Counted(Numpy):
    """Keeps how many pictures it was given at once."""

    asked: list[int] = []  # noqa: RUF012 - emptied by who reads it

    def prepare(self, squares):
        self.asked.append(len(squares))
        return squares


@given(rows=st.lists(st.integers(0, len(DRAWN.cards) - 1), max_size=9), batch=st.integers(1, 5))
def test_the_portions_change_no_embedding_and_none_is_larger_than_asked_for(rows, batch):
    asked = Counted(data.SPEC)
    asked.asked.clear()
    found = embed(asked, DRAWN.references, rows, data.SPEC, "cards", batch=batch)
    assert max(asked.asked, default=0) <= batch
    assert (found.shape, found.dtype) == ((len(rows), network.DIM), np.float32)
    if rows:
        np.testing.assert_allclose(found, network.reference_embeddings(DRAWN.references[rows]), atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_refused(value):
    class Broken(Numpy):
        def __call__(self, prepared):
            return np.full((len(prepared), self.dim), value, np.float32)

    with pytest.raises(
        PokeflowError, match=r"cards: the network returns embeddings that are not finite.*Train it again"
    ):
        embed(Broken(data.SPEC), DRAWN.references, [0], data.SPEC, "cards")


def test_the_gallery_has_a_row_a_card_in_the_order_of_the_data():
    found = gallery(Numpy(data.SPEC), DRAWN)
    assert found.card_ids.tolist() == [card.card_id for card in DRAWN.cards]
    assert found.preprocessing == data.SPEC.hash
    np.testing.assert_allclose(
        found.embeddings, normalize_rows(network.reference_embeddings(DRAWN.references)), atol=1e-5
    )


def test_the_first_model_among_the_inputs_is_worked_on(stage):
    first, second = stage.model(), stage.model()
    task = stage.task("benchmark", NoParams(), stage.prepared(), first, second)
    assert model_input(task) is first
    with pytest.raises(PokeflowError, match=r"benchmark:small: needs a model.*Set a parent"):
        model_input(stage.task("benchmark", NoParams(), stage.prepared()))


def test_a_model_and_data_of_different_preprocessing_are_refused(stage):
    task = stage.task("benchmark", NoParams(), stage.model(Preprocessing(32, (0.5,) * 3, (0.5,) * 3)), stage.prepared())
    with pytest.raises(PokeflowError, match=r"compile:small: preprocessing .* differs"):
        model_and_data(task)


def test_facts_of_the_network_go_on_to_what_is_compiled_from_it(tmp_path):
    parent = finished("distill", "student", tmp_path, architecture="small", parameters=12, threads=4)
    assert inherited_facts(parent) == {"architecture": "small", "parameters": 12}
    assert inherited_facts(finished("distill", "student", tmp_path)) == {}


def test_the_size_is_of_the_model_s_files_alone(tmp_path):
    for name, size in {"model.bin": 1_500_000, "model.xml": 500_000, "index.npz": 9}.items():
        (tmp_path / name).write_bytes(b"0" * size)
    assert size_mb(tmp_path, "model.xml", "model.bin") == 2.0


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_queries_is_refused_by_who_needs_it(split):
    assert DRAWN.queries_for(split, "benchmark") == DRAWN.queries_of(split)
    with pytest.raises(PokeflowError, match=rf"compile: the data set has no {split} queries.*data\.queries\.views"):
        without(split).queries_for(split, "compile")


def test_json_is_in_the_order_of_its_keys_and_holds_no_nan(tmp_path):
    file = tmp_path / "told.json"
    jsonfile.write(file, {"b": "ä", "a": None})
    assert file.read_text(encoding="utf-8") == '{\n  "a": null,\n  "b": "ä"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonfile.write(file, {"a": float("nan")})
    assert json.loads(file.read_bytes()) == {"a": None, "b": "ä"}
