"""Stage ``distill``: a student that learns to embed as its teacher does; both stages, told apart by parameters."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pokeflow.errors import PokeflowError
from pokeflow.stages import PREPARE
from pokeflow.types import Result, Task
from pokeflow_torch import distill_report, evaluate, losses, networks, together
from pokeflow_torch.loop import fit
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import TERMS, DistillParams, Margin
from pokeflow_torch.step import Learner
from pokeflow_torch.train import facts, reasons, training_cards, write_model
from pokeflow_vision import dataset, preprocessing
from pokeflow_vision.dataset import Dataset

log = logging.getLogger(__name__)


class DistillLearner(Learner):
    """A student beside its frozen teacher, with the projector of its tokens and the centres of the task term.

    ``bank`` [N, D] are the teacher's embeddings of all references, ``rows`` those that are trained on.
    """

    mean: Tensor
    deviation: Tensor
    bank: Tensor

    def __init__(
        self, student: Embedder, teacher: Embedder, bank: Tensor, rows: list[int], params: DistillParams
    ) -> None:
        super().__init__()
        self.network = student
        # In a list, a module is no part of this one: never trained, never saved.
        self._teacher = [teacher.eval().requires_grad_(False)]
        self.weights = {name: weight for name, weight in params.losses.items() if weight > 0}
        self.temperature, self.margin = params.temperature, params.margin
        self.register_buffer("bank", bank[rows], persistent=False)
        self.register_buffer("mean", torch.zeros(1, teacher.token_dim, 1, 1))
        self.register_buffer("deviation", torch.ones(1, teacher.token_dim, 1, 1))
        if {"feature", "highfreq"} & set(self.weights):
            self.projector = nn.Conv2d(student.token_dim, teacher.token_dim, 1)
        if "task" in self.weights:
            self.margin_loss = losses.task(params.margin, bank[rows])

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The weighted terms of normalised views [B, 3, S, S] of the training cards ``labels``, and their sum."""
        terms = self.terms(self.network, images, labels, getattr(self, "margin_loss", None))
        total = torch.stack([weight * terms[f"{name}_loss"] for name, weight in self.weights.items()]).sum()
        return {"loss": total, **terms}

    def terms(
        self, student: Embedder, images: Tensor, labels: Tensor, criterion: nn.Module | None
    ) -> dict[str, Tensor]:
        """Each weighted term, not yet weighted, as ``<term>_loss``; ``labels`` count the centres of ``criterion``."""
        teacher = self._teacher[0]
        embedding, tokens = (value.float() for value in student(images))
        with torch.no_grad():
            target, target_tokens = (value.float() for value in teacher(images))
            target_tokens = (target_tokens - self.mean) / self.deviation
        tokens, target_tokens = _on_one_grid(tokens, target_tokens)
        found: dict[str, Tensor] = {}
        for name in self.weights:
            if name == "feature":
                found[name] = losses.feature(embedding, target, self.projector(tokens), target_tokens)
            elif name == "kl":
                found[name] = losses.kl(embedding, target, self.bank, self.temperature, self.margin.scale)
            elif name == "attention":
                found[name] = losses.attention(tokens, target_tokens)
            elif name == "highfreq":
                found[name] = losses.highfreq(self.projector(tokens), target_tokens)
            elif name == "task" and criterion is not None:
                found[name] = criterion(embedding, labels)
            else:
                raise PokeflowError(f"losses.{name}: this term can't be computed; known: {', '.join(TERMS)}.")
        return {f"{name}_loss": value for name, value in found.items()}

    @torch.no_grad()
    def standardize(self, inputs: Iterator[Tensor]) -> None:
        """Set the teacher's token mean and deviation per channel from normalised images."""
        count, total, squares = (
            0,
            torch.zeros_like(self.mean[0, :, 0, 0]).double(),
            torch.zeros_like(self.mean[0, :, 0, 0]).double(),
        )
        for images in inputs:
            tokens = self._teacher[0](images)[1].double()
            count += tokens.numel() // tokens.shape[1]
            total = total + tokens.sum((0, 2, 3)).cpu()
            squares = squares + tokens.square().sum((0, 2, 3)).cpu()
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt() + 1e-6
        self.mean.copy_(mean.view(1, -1, 1, 1))
        self.deviation.copy_(deviation.view(1, -1, 1, 1))


def run(task: Task) -> Result:
    """Distil the teacher among the inputs into the network of ``task.params``, and report on the val queries."""
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
        found = figures(learner, network, data, bank, taught)
        return {name: value for name, value in found.items() if value is not None}

    fitted = fit(machine, task, learner, cards, params.optim, params.loop, params.augment, validate)

    def end() -> dict[str, float | None]:
        found = figures(learner, fitted.network, data, bank, taught)
        write_model(task, fitted, data, params.network, found)
        return found

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
    """What a student is worth on the val queries, ``bank`` and ``taught`` being its teacher's embeddings.

    The task loss takes the teacher's reference embeddings in the place of the learnt centres: val cards have none.
    """
    queries, spec = evaluate.validation(data), data.preprocessing
    truth = evaluate.truth(data, queries)
    references = evaluate.embed(student, data.references, range(len(data.cards)), spec, "references")
    embedded = evaluate.embed(student, data.query_images, queries, spec, "val queries")
    found = evaluate.accuracy(references, embedded, data, queries)
    best = evaluate.accuracy(bank, taught, data, queries)["top1_accuracy"]
    device = next(student.parameters()).device
    margin = learner.margin
    criterion = losses.task(Margin(margin.angle, margin.scale, 1), torch.from_numpy(bank).to(device))

    def batches() -> Iterator[tuple[int, dict[str, Tensor]]]:
        start = 0
        for images in evaluate.batches(data.query_images, queries, spec, device):
            labels = torch.from_numpy(truth[start : start + len(images)]).to(device)
            yield len(images), learner.terms(student, images, labels, criterion)
            start += len(images)

    lengths = np.linalg.norm(embedded, axis=1) * np.linalg.norm(taught, axis=1)
    top1 = found["top1_accuracy"]
    return {
        **evaluate.mean_over(batches),
        "task_accuracy": top1,
        "top5_accuracy": found["top5_accuracy"],
        "artwork_top1_accuracy": found["artwork_top1_accuracy"],
        "distillation_gap": None if best is None or top1 is None else best - top1,
        "cosine_similarity": float(((embedded * taught).sum(1) / lengths).mean()),
    }


def _student(task: Task, params: DistillParams, data: Dataset) -> Embedder:
    """The network of the parameters; where a student is among the inputs, with that student's weights."""
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


def _on_one_grid(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Token maps [B, C, h, w] on the coarser of their two grids; equal grids stay as they are."""
    height = min(student.shape[-2], teacher.shape[-2])
    width = min(student.shape[-1], teacher.shape[-1])
    return F.adaptive_avg_pool2d(student, (height, width)), F.adaptive_avg_pool2d(teacher, (height, width))
