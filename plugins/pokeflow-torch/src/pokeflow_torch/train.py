"""Stage ``train``: a teacher that tells cards apart, learnt from one clean image and many views of each."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow.stages import PREPARE
from pokeflow.types import Result, Task
from pokeflow_torch import evaluate, export, losses, networks, telemetry, together
from pokeflow_torch.loop import Fitted, fit, write_history
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Margin, Network, TrainParams
from pokeflow_torch.step import Cards, Learner
from pokeflow_vision import dataset, preprocessing, retrieval
from pokeflow_vision.dataset import Dataset


class MarginLearner(Learner):
    """A network under sub-centre ArcFace: metric learning with one class a card."""

    def __init__(self, network: Embedder, proxies: Tensor, margin: Margin) -> None:
        super().__init__()
        self.network = network
        self.margin_loss = losses.task(margin, proxies)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of normalised views [B, 3, S, S] of the cards ``labels``."""
        embedding, _ = self.network(images)
        return {"loss": self.margin_loss(embedding.float(), labels)}


def run(task: Task) -> Result:
    """Train the network of ``task.params`` on the references of the training cards, and report on val queries."""
    params: TrainParams = task.params
    data = dataset.read(task.input(stage=PREPARE).folder)
    machine = together.accelerator(params.loop.precision)
    torch.manual_seed(params.loop.seed)
    network = networks.build(params.network, data.preprocessing.size).to(machine.device)
    cards = training_cards(data)
    learner = MarginLearner(network, centres(network, cards, data), params.margin)

    def validate(shadow: Embedder) -> dict[str, float]:
        return {k: v for k, v in figures(shadow, data, params.margin)[0].items() if v is not None}

    fitted = fit(machine, task, learner, cards, params.optim, params.loop, params.augment, validate)

    def end() -> dict[str, float | None]:
        found, references = figures(fitted.network, data, params.margin)
        write_model(task, fitted, data, params.network, found)
        np.save(task.output / "references.npy", references.astype(np.float16))
        return found

    metrics = together.same(machine, end)
    return Result(metrics, facts(fitted.network, data, params.network.name), reasons(metrics))


def centres(network: Embedder, cards: Cards, data: Dataset) -> Tensor:
    """Where a network puts the cards [N, D], about their mean: random centres would take long to be found."""
    start = evaluate.embed(network, cards.images, range(len(cards.images)), data.preprocessing, "training cards")
    return torch.from_numpy(start - start.mean(0))


def training_cards(data: Dataset) -> Cards:
    """The references of the training split, as squares; PokeflowError where there are too few to tell apart."""
    rows = data.cards_of("train")
    if len(rows) < 2:
        raise PokeflowError(f"prepare: {len(rows)} training cards; at least two are needed to tell cards apart.")
    spec = data.preprocessing
    squares = np.empty((len(rows), spec.size, spec.size, 3), np.uint8)
    with progress.bar("training cards", len(rows)) as advance:
        for i, row in enumerate(rows):
            squares[i] = preprocessing.to_square(data.references[row : row + 1], spec)[0]
            advance()
    return Cards(squares, spec.mean, spec.std)


def figures(network: Embedder, data: Dataset, margin: Margin) -> tuple[dict[str, float | None], np.ndarray]:
    """Accuracy and loss on the val queries, and the embeddings of all references.

    The loss is the training loss with the references' embeddings in the place of the learnt centres: val cards
    have none.
    """
    queries = evaluate.validation(data)
    spec = data.preprocessing
    references = evaluate.embed(network, data.references, range(len(data.cards)), spec, "references")
    embedded = evaluate.embed(network, data.query_images, queries, spec, "val queries")
    metrics = evaluate.accuracy(references, embedded, data, queries)
    with torch.no_grad():
        criterion = losses.task(Margin(margin.angle, margin.scale, 1), torch.from_numpy(references))
        loss = criterion(torch.from_numpy(embedded), torch.from_numpy(evaluate.truth(data, queries)))
    return {**metrics, "loss": float(loss)}, references


def write_model(
    task: Task, fitted: Fitted, data: Dataset, network: Network, metrics: Mapping[str, float | None]
) -> None:
    """Leave the model's folder: graph, weights, description, preprocessing and history. The first process does."""
    size = data.preprocessing.size
    fitted.network.cpu().to(memory_format=torch.contiguous_format)
    networks.save(task.output, fitted.network, network, size)
    data.preprocessing.write(task.output)
    last = {name: value for name, value in metrics.items() if value is not None}
    end = {**fitted.history[-1], **last}
    write_history(task, [*fitted.history[:-1], end])
    telemetry.tell_end(task.work, end)
    export.write(task.output / "model.onnx", fitted.network, size)


def facts(network: Embedder, data: Dataset, architecture: str) -> dict[str, Any]:
    """What is worth telling of a model beside its figures."""
    size = data.preprocessing.size
    return {
        "architecture": architecture,
        "parameters": networks.parameters(network),
        "parameters_counted": "backbone and embedding head, as shipped",
        "embedding_dim": network.embedding_dim,
        "input_size": f"{size}x{size}",
        "framework": networks.framework(),
        "preprocessing": data.preprocessing.hash,
        "protocol": retrieval.protocol(data, "val"),
    }


def reasons(metrics: dict[str, float | None]) -> dict[str, str]:
    """Why a figure is unknown."""
    unknown = {"artwork_top1_accuracy": "the data set doesn't say which cards share their art"}
    return {name: unknown.get(name, "not measured") for name, value in metrics.items() if value is None}
