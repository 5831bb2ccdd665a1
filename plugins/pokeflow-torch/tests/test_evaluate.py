import dataclasses

import numpy as np
import pytest
import torch

from pokeflow import PokeflowError
from pokeflow_torch import evaluate, networks
from pokeflow_vision import dataset

from .conftest import CNN, SIZE


def test_embeddings_do_not_depend_on_batch_size(data, monkeypatch):
    prepared = dataset.read(data)
    network = networks.build(CNN, SIZE)
    whole = evaluate.embed(network, prepared.references, range(20), prepared.preprocessing, "x")
    monkeypatch.setattr(evaluate, "BATCH", 3)
    parts = evaluate.embed(network, prepared.references, range(20), prepared.preprocessing, "x")
    assert whole.shape == (20, 16)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert network.training


def test_accuracy_follows_the_shared_protocol(data):
    prepared = dataset.read(data)
    rows = evaluate.validation(prepared)
    truth = evaluate.truth(prepared, rows)
    references = np.eye(20, dtype=np.float32)
    right = evaluate.accuracy(references, references[truth], prepared, rows)
    assert right["top1_accuracy"] == right["top5_accuracy"] == right["artwork_top1_accuracy"] == 1.0
    wrong = evaluate.accuracy(references, references[(truth + 1) % 20], prepared, rows)
    assert wrong["top1_accuracy"] == 0.0


def test_data_set_without_val_queries_is_refused(data):
    prepared = dataset.read(data)
    bare = dataclasses.replace(prepared, queries=tuple(q for q in prepared.queries if q.split != "val"))
    with pytest.raises(PokeflowError, match="val queries"):
        evaluate.validation(bare)


def test_means_are_weighted_by_batch_size():
    values = [(3, {"x": torch.tensor(1.0)}), (1, {"x": torch.tensor(5.0)})]
    assert evaluate.mean_over(lambda: iter(values)) == {"x": 2.0}
