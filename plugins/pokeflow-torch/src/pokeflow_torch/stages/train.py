"""Stage ``train``: trains a teacher that distinguishes cards, from many views of one clean image per card."""

import numpy as np
import torch

from pokeflow.stages import PREPARE
from pokeflow.types import Result, Task
from pokeflow_torch import distributed, evaluate, losses, networks
from pokeflow_torch.learners import MarginLearner, centres, training_cards
from pokeflow_torch.loop import fit
from pokeflow_torch.model import facts, reasons, write_model
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Margin, TrainParams
from pokeflow_vision import dataset
from pokeflow_vision.dataset import Dataset


def run(task: Task) -> Result:
    """Train the network of ``task.params`` on the references of the training cards; measure it on the val queries."""
    params: TrainParams = task.params
    data = dataset.read(task.input(stage=PREPARE).folder)
    accelerator = distributed.create_accelerator(params.loop.precision)
    torch.manual_seed(params.loop.seed)
    network = networks.build(params.network, data.preprocessing.size).to(accelerator.device)
    cards = training_cards(data)
    learner = MarginLearner(network, centres(network, cards, data), params.margin)

    def validate(shadow: Embedder) -> dict[str, float]:
        return {k: v for k, v in figures(shadow, data, params.margin)[0].items() if v is not None}

    fit_result = fit(accelerator, task, learner, cards, params.optim, params.loop, params.augment, validate)

    def end() -> dict[str, float | None]:
        val_metrics, references = figures(fit_result.network, data, params.margin)
        write_model(task, fit_result, data, params.network, val_metrics)
        np.save(task.output / "references.npy", references.astype(np.float16))
        return val_metrics

    metrics = distributed.run_on_main(accelerator, end)
    return Result(metrics, facts(fit_result.network, data, params.network), reasons(metrics))


def figures(network: Embedder, data: Dataset, margin: Margin) -> tuple[dict[str, float | None], np.ndarray]:
    """Measure accuracy and loss on the val queries.

    The loss is the training loss with the references' embeddings as centres, because val cards have no trained
    centres.

    Returns:
        Metrics by name, None if unknown; and the embeddings [N, D] of all references, float32.

    """
    queries = evaluate.validation(data)
    spec = data.preprocessing
    references = evaluate.embed(network, data.references, range(len(data.cards)), spec, "references")
    query_embeddings = evaluate.embed(network, data.query_images, queries, spec, "val queries")
    metrics = evaluate.accuracy(references, query_embeddings, data, queries)
    with torch.no_grad():
        criterion = losses.arcface(Margin(margin.angle, margin.scale, 1), torch.from_numpy(references))
        loss = criterion(torch.from_numpy(query_embeddings), torch.from_numpy(evaluate.truth(data, queries)))
    return {**metrics, "loss": float(loss)}, references
