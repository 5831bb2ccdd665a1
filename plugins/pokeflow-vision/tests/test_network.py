"""Test how an opened network of any target is called, in which batches, and which inputs are refused."""

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
    """A network that records the size of each batch."""

    batches: list[int] = []  # noqa: RUF012 - cleared by the test that reads it

    def prepare(self, squares):
        self.batches.append(len(squares))
        return squares


@given(rows=st.lists(st.integers(0, len(DRAWN.cards) - 1), max_size=9), batch=st.integers(1, 5))
def test_batch_size_is_limited_and_changes_no_embedding(rows, batch):
    counted = Counted(data.SPEC)
    counted.batches.clear()
    embeddings = embed(counted, DRAWN.references, rows, data.SPEC, "cards", batch=batch)
    assert max(counted.batches, default=0) <= batch
    assert (embeddings.shape, embeddings.dtype) == ((len(rows), network.DIM), np.float32)
    if rows:
        np.testing.assert_allclose(embeddings, network.reference_embeddings(DRAWN.references[rows]), atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_embeddings_are_refused(value):
    class Broken(Numpy):
        def __call__(self, prepared):
            return np.full((len(prepared), self.dim), value, np.float32)

    with pytest.raises(
        PokeflowError, match=r"cards: the network returns embeddings that are not finite.*Train it again"
    ):
        embed(Broken(data.SPEC), DRAWN.references, [0], data.SPEC, "cards")


def test_gallery_has_one_row_per_card_in_data_order():
    built = gallery(Numpy(data.SPEC), DRAWN)
    assert built.card_ids.tolist() == [card.card_id for card in DRAWN.cards]
    assert built.preprocessing == data.SPEC.hash
    np.testing.assert_allclose(
        built.embeddings, normalize_rows(network.reference_embeddings(DRAWN.references)), atol=1e-5
    )


def test_first_model_among_the_inputs_is_used(stage):
    first, second = stage.model(), stage.model()
    task = stage.task("benchmark", NoParams(), stage.prepared(), first, second)
    assert model_input(task) is first
    with pytest.raises(PokeflowError, match=r"benchmark:small: needs a model.*Set a parent"):
        model_input(stage.task("benchmark", NoParams(), stage.prepared()))


def test_model_and_data_of_different_preprocessing_are_refused(stage):
    task = stage.task("benchmark", NoParams(), stage.model(Preprocessing(32, (0.5,) * 3, (0.5,) * 3)), stage.prepared())
    with pytest.raises(PokeflowError, match=r"compile:small: preprocessing .* differs"):
        model_and_data(task)


def test_compiled_model_inherits_network_facts(tmp_path):
    parent = finished("distill", "student", tmp_path, architecture="small", parameters=12, threads=4)
    assert inherited_facts(parent) == {"architecture": "small", "parameters": 12}
    assert inherited_facts(finished("distill", "student", tmp_path)) == {}


def test_size_counts_only_the_model_files(tmp_path):
    for name, size in {"model.bin": 1_500_000, "model.xml": 500_000, "index.npz": 9}.items():
        (tmp_path / name).write_bytes(b"0" * size)
    assert size_mb(tmp_path, "model.xml", "model.bin") == 2.0


@pytest.mark.parametrize("split", ["val", "test"])
def test_split_without_queries_is_refused_with_the_stage_name(split):
    assert DRAWN.queries_for(split, "benchmark") == DRAWN.queries_of(split)
    with pytest.raises(PokeflowError, match=rf"compile: the data set has no {split} queries.*data\.queries\.views"):
        without(split).queries_for(split, "compile")


def test_json_is_sorted_and_rejects_nan(tmp_path):
    file = tmp_path / "data.json"
    jsonfile.write(file, {"b": "ä", "a": None})
    assert file.read_text(encoding="utf-8") == '{\n  "a": null,\n  "b": "ä"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonfile.write(file, {"a": float("nan")})
    assert json.loads(file.read_bytes()) == {"a": None, "b": "ä"}
