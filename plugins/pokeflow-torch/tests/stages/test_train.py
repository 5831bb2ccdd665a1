import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pokeflow import PokeflowError
from pokeflow_torch import learners, networks
from pokeflow_torch.params import Optim
from pokeflow_torch.stages import train
from pokeflow_vision import dataset, preprocessing

from ..conftest import SIZE


@pytest.mark.slow
def test_teacher_folder_is_complete(make, train_params, data):
    task = make("train", train_params)
    result = train.run(task)
    files = {"model.onnx", "weights.pt", "network.json", "preprocessing.json", "history.jsonl", "references.npy"}
    files |= {"checkpoint.pt"}
    assert {file.name for file in task.output.iterdir()} == files
    assert preprocessing.read(task.output) == dataset.read(data).preprocessing
    network, _ = networks.load(task.output)
    assert networks.parameters(network) == result.facts["parameters"]
    assert np.load(task.output / "references.npy", allow_pickle=False).shape == (20, 16)
    assert result.facts["protocol"] == (
        "8 query views (noisy copies) of 4 val cards against 20 references, one per card; nearest by cosine; "
        "exact printing; 0 of the cards share their art with a train card"
    )
    assert result.facts["input_size"] == f"{SIZE}x{SIZE}"
    json.dumps(result.facts)


def test_metrics_match_the_shipped_weights(make, train_params, data):
    task = make("train", train_params)
    result = train.run(task)
    network, _ = networks.load(task.output)
    again, _ = train.figures(network, dataset.read(data), train_params.margin)
    assert again == result.metrics
    assert set(again) == {"top1_accuracy", "top5_accuracy", "artwork_top1_accuracy", "loss"}
    assert all(math.isfinite(value) for value in again.values())


def test_history_has_one_line_per_epoch_with_validations(make, train_params):
    every = replace(train_params, loop=replace(train_params.loop, epochs=3, validate_every=2))
    task = make("train", every)
    result = train.run(task)
    lines = [json.loads(line) for line in (task.output / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [3, 6, 9]
    assert ["top1_accuracy" in line for line in lines] == [False, True, True]
    assert lines[2].items() >= result.metrics.items()


def test_training_reduces_the_loss(make, train_params):
    longer = replace(
        train_params,
        network=replace(train_params.network, grid=4),
        loop=replace(train_params.loop, epochs=25),
        optim=Optim(lr=3e-3, ema=None),
        augment=0.3,
    )
    task = make("train", longer)
    result = train.run(task)
    lines = [json.loads(line) for line in (task.output / "history.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < 0.5 * lines[0]["train_loss"]
    assert result.metrics["top1_accuracy"] > 0.5


def test_same_task_gives_identical_bytes(make, train_params):
    contents = []
    for _ in range(2):
        task = make("train", train_params)
        train.run(task)
        contents.append({file.name: file.read_bytes() for file in task.output.iterdir()})
    assert contents[0] == contents[1]
    assert "checkpoint.pt" in contents[0]


def test_non_finite_loss_stops_training_and_names_the_setting(make, train_params, monkeypatch):
    def broken(self, images, labels):
        return {"loss": self.network(images)[0].sum() * float("nan")}

    monkeypatch.setattr(learners.MarginLearner, "forward", broken)
    with pytest.raises(PokeflowError, match=r"step 0.*optim\.lr"):
        train.run(make("train", train_params))
