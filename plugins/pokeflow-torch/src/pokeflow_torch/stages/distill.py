"""Stage ``distill``: trains a student to reproduce its teacher's embeddings, in one or two stages by parameters."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pokeflow.errors import PokeflowError
from pokeflow.stages import PREPARE
from pokeflow.types import Result, Task
from pokeflow_torch import distill_report, distributed, evaluate, losses, networks
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
    accelerator = distributed.create_accelerator(params.loop.precision)
    teacher, teacher_network = networks.load(folder)
    teacher.to(accelerator.device)
    if teacher_network.embedding_dim != params.network.embedding_dim:
        raise PokeflowError(
            f"network.embedding_dim: {params.network.embedding_dim}, but the teacher's is "
            f"{teacher_network.embedding_dim}; "
            "the student learns the teacher's embedding, so set the same length."
        )
    torch.manual_seed(params.loop.seed)
    student = _student(task, params, data)
    queries = evaluate.validation(data)
    cards = training_cards(data)
    bank = evaluate.embed(teacher, data.references, range(len(data.cards)), spec, "teacher's references")
    teacher_queries = evaluate.embed(teacher, data.query_images, queries, spec, "teacher's val queries")
    learner = DistillLearner(student, teacher, torch.from_numpy(bank), data.cards_of("train"), params)
    learner.standardize(evaluate.batches(cards.images, range(len(cards.images)), spec, accelerator.device))

    def validate(network: Embedder) -> dict[str, float]:
        metrics = figures(learner, network, data, bank, teacher_queries)
        return {name: value for name, value in metrics.items() if value is not None}

    fit_result = fit(accelerator, task, learner, cards, params.optim, params.loop, params.augment, validate)

    def end() -> dict[str, float | None]:
        val_metrics = figures(learner, fit_result.network, data, bank, teacher_queries)
        write_model(task, fit_result, data, params.network, val_metrics)
        return val_metrics

    metrics = distributed.run_on_main(accelerator, end)
    parent = next((item for item in task.inputs if item.record.type == "student"), None)
    model_facts = facts(fit_result.network, data, params.network, parent)
    ratio = networks.parameters(teacher) / model_facts["parameters"]
    model_facts |= {
        "compression_ratio": round(ratio, 2),
        "compression_counted": "teacher's parameters over the student's",
    }
    result = Result(metrics, model_facts, reasons(metrics))
    if fit_result.writes:
        teacher_accuracy = evaluate.accuracy(bank, teacher_queries, data, queries)["top1_accuracy"]
        teacher_facts = {
            "architecture": teacher_network.name,
            "parameters": networks.parameters(teacher),
            "top1_accuracy": teacher_accuracy,
        }
        distill_report.write(task, result, teacher_facts, fit_result.history)
    return result


def figures(
    learner: DistillLearner, student: Embedder, data: Dataset, bank: np.ndarray, teacher_queries: np.ndarray
) -> dict[str, float | None]:
    """Measure a student on the val queries: loss terms, accuracies and agreement with its teacher.

    The task loss uses the teacher's reference embeddings as centres, because val cards have no trained centres.

    Args:
        learner: The learner with the teacher and the loss terms.
        student: The network to measure.
        data: The data set.
        bank: The teacher's embeddings [N, D] of all references.
        teacher_queries: The teacher's embeddings [M, D] of the val queries.

    Returns:
        Metrics by name; None if unknown.

    """
    queries, spec = evaluate.validation(data), data.preprocessing
    truth = evaluate.truth(data, queries)
    references = evaluate.embed(student, data.references, range(len(data.cards)), spec, "references")
    query_embeddings = evaluate.embed(student, data.query_images, queries, spec, "val queries")
    accuracies = evaluate.accuracy(references, query_embeddings, data, queries)
    teacher_accuracy = evaluate.accuracy(bank, teacher_queries, data, queries)["top1_accuracy"]
    device = next(student.parameters()).device
    margin = learner.margin
    criterion = losses.arcface(Margin(margin.angle, margin.scale, 1), torch.from_numpy(bank).to(device))

    def batches() -> Iterator[tuple[int, dict[str, Tensor]]]:
        start = 0
        for images in evaluate.batches(data.query_images, queries, spec, device):
            labels = torch.from_numpy(truth[start : start + len(images)]).to(device)
            yield len(images), learner.terms(student, images, labels, criterion)
            start += len(images)

    lengths = np.linalg.norm(query_embeddings, axis=1) * np.linalg.norm(teacher_queries, axis=1)
    top1 = accuracies["top1_accuracy"]
    return {
        **evaluate.mean_over(batches),
        "task_accuracy": top1,
        "top5_accuracy": accuracies["top5_accuracy"],
        "artwork_top1_accuracy": accuracies["artwork_top1_accuracy"],
        "distillation_gap": None if teacher_accuracy is None or top1 is None else teacher_accuracy - top1,
        "cosine_similarity": float(((query_embeddings * teacher_queries).sum(1) / lengths).mean()),
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
    student, parent_network = networks.load(parent.folder)
    requested, recorded = ((n.name, dict(n.options), n.embedding_dim, n.grid) for n in (params.network, parent_network))
    if requested != recorded:
        raise PokeflowError(
            f"network: {requested} is not the network of {parent.record.task}, "
            f"{recorded}, whose weights this stage starts from. Set the same network for both stages."
        )
    log.info("%s: starts from the weights of %s", task.name, parent.record.task)
    return student
