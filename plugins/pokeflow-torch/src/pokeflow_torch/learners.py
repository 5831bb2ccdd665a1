"""Trainable modules: a network under a margin loss, and a student with its frozen teacher."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pokeflow import progress
from pokeflow.errors import PokeflowError
from pokeflow_torch import evaluate, losses
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import DistillParams, Margin
from pokeflow_torch.step import Cards, Learner
from pokeflow_vision import preprocessing
from pokeflow_vision.dataset import Dataset


class MarginLearner(Learner):
    """A network under sub-centre ArcFace: metric learning with one class per card."""

    def __init__(self, network: Embedder, proxies: Tensor, margin: Margin) -> None:
        super().__init__()
        self.network = network
        self.margin_loss = losses.arcface(margin, proxies)

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss of normalized views ``images`` [B, 3, S, S] of the cards ``labels`` [B] as term "loss"."""
        embedding, _ = self.network(images)
        return {"loss": self.margin_loss(embedding.float(), labels)}


class DistillLearner(Learner):
    """A student with its frozen teacher, the projector of its tokens and the centres of the task term.

    ``bank`` [N, D] holds the teacher's embeddings of all references; ``rows`` are the positions of the training cards.
    """

    mean: Tensor
    deviation: Tensor
    bank: Tensor

    def __init__(
        self, student: Embedder, teacher: Embedder, bank: Tensor, rows: list[int], params: DistillParams
    ) -> None:
        super().__init__()
        self.network = student
        # Inside a list the teacher is not a submodule, so it is neither trained nor saved.
        self._teacher = [teacher.eval().requires_grad_(False)]
        self.weights = {name: weight for name, weight in params.losses.items() if weight > 0}
        self._losses = losses.load(self.weights)
        self.temperature, self.margin = params.temperature, params.margin
        self.register_buffer("bank", bank[rows], persistent=False)
        self.register_buffer("mean", torch.zeros(1, teacher.token_dim, 1, 1))
        self.register_buffer("deviation", torch.ones(1, teacher.token_dim, 1, 1))
        if any(loss.needs_projector for loss in self._losses.values()):
            self.projector = nn.Conv2d(student.token_dim, teacher.token_dim, 1)
        if any(loss.needs_margin for loss in self._losses.values()):
            self.margin_loss = losses.arcface(params.margin, bank[rows])

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute all terms and their weighted sum.

        Args:
            images: Normalized views [B, 3, S, S].
            labels: Training cards [B].

        Returns:
            Each term before its weight as ``<term>_loss``, and the weighted sum as "loss".

        """
        terms = self.terms(self.network, images, labels, getattr(self, "margin_loss", None))
        total = torch.stack([weight * terms[f"{name}_loss"] for name, weight in self.weights.items()]).sum()
        return {"loss": total, **terms}

    def terms(
        self, student: Embedder, images: Tensor, labels: Tensor, criterion: nn.Module | None
    ) -> dict[str, Tensor]:
        """Compute every term that has a weight over 0, before it is multiplied by its weight.

        Args:
            student: The student.
            images: Normalized views [B, 3, S, S].
            labels: Cards [B], as rows of the centres of ``criterion``.
            criterion: The margin loss; None if no term needs it.

        Returns:
            Scalars as ``<term>_loss``.

        Raises:
            PokeflowError: If a term cannot be computed, or is not a scalar.

        """
        teacher = self._teacher[0]
        embedding, tokens = (value.float() for value in student(images))
        with torch.no_grad():
            target, target_tokens = (value.float() for value in teacher(images))
            target_tokens = (target_tokens - self.mean) / self.deviation
        tokens, target_tokens = _match_grids(tokens, target_tokens)
        inputs = {
            "student": embedding,
            "teacher": target,
            "student_tokens": tokens,
            "teacher_tokens": target_tokens,
            "labels": labels,
            "bank": self.bank,
            "temperature": self.temperature,
            "scale": self.margin.scale,
            losses.MARGIN: criterion,
        }
        values: dict[str, Tensor] = {}
        for name, loss in self._losses.items():
            # One projection per term: gradients through a shared projection would be rounded differently.
            projection = {losses.PROJECTED: self.projector(tokens)} if loss.needs_projector else {}
            value = loss.function(**{key: (inputs | projection)[key] for key in loss.inputs})
            if value.ndim:
                raise PokeflowError(
                    f"losses.{name}: returns a tensor of shape {list(value.shape)}. "
                    "Return a scalar, the mean over the batch."
                )
            values[f"{name}_loss"] = value
        return values

    @torch.no_grad()
    def standardize(self, inputs: Iterator[Tensor]) -> None:
        """Measure mean and standard deviation per channel of the teacher's tokens over batches [B, 3, S, S]."""
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


def centres(network: Embedder, cards: Cards, data: Dataset) -> Tensor:
    """Return the network's embeddings of the cards less their mean [N, D], float32, as initial centres.

    Random centres would take long to converge.
    """
    start = evaluate.embed(network, cards.images, range(len(cards.images)), data.preprocessing, "training cards")
    return torch.from_numpy(start - start.mean(0))


def training_cards(data: Dataset) -> Cards:
    """Return the references of the training split as square images.

    Raises:
        PokeflowError: If there are fewer than two training cards.

    """
    rows = data.cards_of("train")
    if len(rows) < 2:
        raise PokeflowError(
            f"prepare: the data set has {len(rows)} training cards; training needs at least two. Add cards."
        )
    spec = data.preprocessing
    squares = np.empty((len(rows), spec.size, spec.size, 3), np.uint8)
    with progress.bar("loading training cards", len(rows)) as advance:
        for i, row in enumerate(rows):
            squares[i] = preprocessing.to_square(data.references[row : row + 1], spec)[0]
            advance()
    return Cards(squares, spec.mean, spec.std)


def _match_grids(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average two token maps [B, C, h, w] to the smaller height and width of both; equal grids stay unchanged."""
    height = min(student.shape[-2], teacher.shape[-2])
    width = min(student.shape[-1], teacher.shape[-1])
    return F.adaptive_avg_pool2d(student, (height, width)), F.adaptive_avg_pool2d(teacher, (height, width))
