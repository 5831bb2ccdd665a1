"""Stage ``distill``: trains a student to reproduce its teacher's embeddings, in one or two stages by parameters."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pokeflow.errors import PokeflowError
from pokeflow.stages import PREPARE
from pokeflow.types import Result, Task
from pokeflow_torch import distill_report, evaluate, losses, networks, together
from pokeflow_torch.learners import DistillLearner, training_cards
from pokeflow_torch.loop import fit
from pokeflow_torch.model import facts, reasons, write_model
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import DistillParams, Margin
from pokeflow_vision import dataset, preprocessing
from pokeflow_vision.dataset import Dataset

log = logging.getLogger(__name__)


def run(task: Task) -> Result:
    """Distil the teacher among the inputs into the network of ``task.params``, and measure it on the val queries.

    Raises:
        PokeflowError: If preprocessing or embedding length differ from the teacher's, or the initial student is
            another network.

    """
    params: DistillParams = task.params
    data = dataset.read(task.input(stage=PREPARE).folder)
    spec = data.preprocessing
    folder = task.input(type="teacher").folder
    preprocessing.require_same(spec, preprocessing.read(folder), f"teacher {folder}")
    machine = together.accelerator(params.loop.precision)
    teacher, described = networks.load(folder)
    teacher.to(machine.device)
    if described.embedding_dim != params.network.embedding_dim:
        raise PokeflowError(
            f"network.embedding_dim: {params.network.embedding_dim}, but the teacher's is {described.embedding_dim}; "
            "the student learns the teacher's embedding, so give it the same."
        )
    torch.manual_seed(params.loop.seed)
    student = _student(task, params, data)
    queries = evaluate.validation(data)
    cards = training_cards(data)
    bank = evaluate.embed(teacher, data.references, range(len(data.cards)), spec, "teacher's references")
    taught = evaluate.embed(teacher, data.query_images, queries, spec, "teacher's val queries")
    learner = DistillLearner(student, teacher, torch.from_numpy(bank), data.cards_of("train"), params)
    learner.standardize(evaluate.batches(cards.images, range(len(cards.images)), spec, machine.device))

    def validate(network: Embedder) -> dict[str, float]:
        metrics = figures(learner, network, data, bank, taught)
        return {name: value for name, value in metrics.items() if value is not None}

    fitted = fit(machine, task, learner, cards, params.optim, params.loop, params.augment, validate)

    def end() -> dict[str, float | None]:
        metrics = figures(learner, fitted.network, data, bank, taught)
        write_model(task, fitted, data, params.network, metrics)
        return metrics

    metrics = together.same(machine, end)
    about = facts(fitted.network, data, params.network.name)
    ratio = networks.parameters(teacher) / about["parameters"]
    about |= {"compression_ratio": round(ratio, 2), "compression_counted": "teacher's parameters over the student's"}
    result = Result(metrics, about, reasons(metrics))
    if fitted.writes:
        best = evaluate.accuracy(bank, taught, data, queries)["top1_accuracy"]
        taught_by = {"architecture": described.name, "parameters": networks.parameters(teacher), "top1_accuracy": best}
        distill_report.write(task, result, taught_by, fitted.history)
    return result


def figures(
    learner: DistillLearner, student: Embedder, data: Dataset, bank: np.ndarray, taught: np.ndarray
) -> dict[str, float | None]:
    """Measure a student on the val queries: loss terms, accuracies and agreement with its teacher.

    The task loss uses the teacher's reference embeddings as centres, because val cards have no trained centres.

    Args:
        learner: The learner with the teacher and the loss terms.
        student: The network to measure.
        data: The data set.
        bank: The teacher's embeddings [N, D] of all references.
        taught: The teacher's embeddings [M, D] of the val queries.

    Returns:
        Metrics by name; None if unknown.

    """
    queries, spec = evaluate.validation(data), data.preprocessing
    truth = evaluate.truth(data, queries)
    references = evaluate.embed(student, data.references, range(len(data.cards)), spec, "references")
    embedded = evaluate.embed(student, data.query_images, queries, spec, "val queries")
    accuracies = evaluate.accuracy(references, embedded, data, queries)
    best = evaluate.accuracy(bank, taught, data, queries)["top1_accuracy"]
    device = next(student.parameters()).device
    margin = learner.margin
    criterion = losses.arcface(Margin(margin.angle, margin.scale, 1), torch.from_numpy(bank).to(device))

    def batches() -> Iterator[tuple[int, dict[str, Tensor]]]:
        start = 0
        for images in evaluate.batches(data.query_images, queries, spec, device):
            labels = torch.from_numpy(truth[start : start + len(images)]).to(device)
            yield len(images), learner.terms(student, images, labels, criterion)
            start += len(images)

    lengths = np.linalg.norm(embedded, axis=1) * np.linalg.norm(taught, axis=1)
    top1 = accuracies["top1_accuracy"]
    return {
        **evaluate.mean_over(batches),
        "task_accuracy": top1,
        "top5_accuracy": accuracies["top5_accuracy"],
        "artwork_top1_accuracy": accuracies["artwork_top1_accuracy"],
        "distillation_gap": None if best is None or top1 is None else best - top1,
        "cosine_similarity": float(((embedded * taught).sum(1) / lengths).mean()),
    }


def _student(task: Task, params: DistillParams, data: Dataset) -> Embedder:
    """Build the network of the parameters, with the weights of the student among the inputs if there is one.

    Raises:
        PokeflowError: If that student is another network or has another preprocessing.

    """
    try:
        parent = task.input(type="student")
    except LookupError:
        return networks.build(params.network, data.preprocessing.size)
    preprocessing.require_same(
        data.preprocessing, preprocessing.read(parent.folder), f"{parent.record.task} {parent.folder}"
    )
    student, described = networks.load(parent.folder)
    mine, theirs = ((n.name, dict(n.options), n.embedding_dim, n.grid) for n in (params.network, described))
    if mine != theirs:
        raise PokeflowError(
            f"network: {mine} is not the network of {parent.record.task}, {theirs}, whose weights this stage begins "
            "at; give both stages the same."
        )
    log.info("%s: begins at the weights of %s", task.name, parent.record.task)
    return student
