"""The distillation terms between a teacher's and a student's embedding and token map, and their literature.

The teacher's tokens come standardised per channel, with mean 0 and variance 1 over its references, so that no channel
outweighs the others (PHI-S, Ranzinger et al. 2024, arXiv:2410.01680). Every term is a mean over the batch. One that
can't be computed raises: a term of 0 would look like a success.

Each is an entry point of the group ``pokeflow_torch.losses``, as the terms of other distributions are. A term's
parameters name what it is given (``INPUTS``); one with a default of its own is left to the term.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from pytorch_metric_learning.losses import SubCenterArcFaceLoss
from torch import Tensor
from torch.nn import functional as F

from pokeflow.errors import PokeflowError, unknown
from pokeflow_torch import extensions
from pokeflow_torch.params import Margin

LOCAL = 0.5
"""The share of the local part in the feature term."""
PROJECTED, MARGIN = "projected_tokens", "margin_loss"
INPUTS = (
    *("student", "teacher", "student_tokens", PROJECTED, "teacher_tokens"),
    *("labels", "bank", "temperature", "scale", MARGIN),
)
"""What a term may ask for: embeddings [B, D] and token maps [B, C, h, w] of a batch, the student's tokens projected to
the teacher's channels too; the cards' labels; the teacher's embeddings of all training cards [N, D]; the parameters
``temperature`` and ``margin.scale``; and the criterion over embeddings and labels that ``margin`` describes."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A term: its function, and the names of what it is called with."""

    name: str
    function: Callable[..., Tensor]
    inputs: tuple[str, ...]

    @property
    def needs_projector(self) -> bool:
        """Whether the student's tokens are projected for it, by a convolution that is trained along."""
        return PROJECTED in self.inputs

    @property
    def needs_margin(self) -> bool:
        """Whether it needs the criterion of ``margin``, whose centres are trained along."""
        return MARGIN in self.inputs


def load(names: Iterable[str]) -> dict[str, Loss]:
    """Return the terms of these names, in their order.

    Raises:
        PokeflowError: for a name that nobody brings, and for a function that asks for what no term is given.

    """
    known = extensions.entries(extensions.LOSSES)
    found: dict[str, Loss] = {}
    for name in names:
        if name not in known:
            raise PokeflowError(str(unknown(f"losses.{name}", "loss term", name, known)))
        function = extensions.load(extensions.LOSSES, name)
        inputs = tuple(
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.name in INPUTS or parameter.default is parameter.empty
        )
        if strange := [asked for asked in inputs if asked not in INPUTS]:
            raise PokeflowError(str(unknown(f"losses.{name}: {known[name].value}", "input", strange[0], INPUTS)))
        found[name] = Loss(name, function, inputs)
    return found


def feature(student: Tensor, teacher: Tensor, projected_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Distance of embeddings [B, D] and of projected tokens [B, C, h, w] to the teacher's: 0 at best.

    mean(1 − cos(z_s, z_t)) + ½·[0.9·(1 − cos(P·F, T)) + 0.1·SmoothL1(P·F, T)], the token part as in AM-RADIO
    (Ranzinger et al. 2024, arXiv:2312.06709), P a 1×1 convolution that is dropped after training.
    """
    same_shape("feature", projected_tokens, teacher_tokens)
    angle = 1 - F.cosine_similarity(projected_tokens, teacher_tokens, dim=1).mean()
    local = 0.9 * angle + 0.1 * F.smooth_l1_loss(projected_tokens, teacher_tokens)
    return (1 - F.cosine_similarity(student, teacher, dim=1)).mean() + LOCAL * local


def kl(student: Tensor, teacher: Tensor, bank: Tensor, temperature: float, scale: float) -> Tensor:
    """How differently two embeddings [B, D] rank the teacher's reference embeddings ``bank`` [N, D].

    KL(softmax(s·cos(z_t, G)/T) ‖ softmax(s·cos(z_s, G)/T))·T²: the logits of a cosine classifier of scale s whose
    weights are the bank, softened by T, with T² to keep the gradient's size (Hinton et al. 2015,
    arXiv:1503.02531); similarities to a bank in place of classes as in SEED (Fang et al. 2021, arXiv:2101.04731).
    """
    if len(bank) < 2:
        raise PokeflowError("losses.kl: the teacher's bank has fewer than two references; nothing to rank.")
    references = F.normalize(bank, dim=1)
    sharpness = scale / temperature
    told = F.log_softmax(F.normalize(student, dim=1) @ references.T * sharpness, dim=1)
    wanted = F.log_softmax(F.normalize(teacher, dim=1) @ references.T * sharpness, dim=1)
    return F.kl_div(told, wanted, reduction="batchmean", log_target=True) * temperature**2


def attention(student_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Difference of where two token maps [B, C, h, w] (C may differ) are active.

    Activation-based spatial attention transfer with Q = Σ_c F_c²: mean over the batch of
    ‖Q_s/‖Q_s‖₂ − Q_t/‖Q_t‖₂‖₂² (Zagoruyko and Komodakis 2017, arXiv:1612.03928, the map F²_sum). The paper's text
    takes the norm of the difference, its published code the mean of squares; this is the sum of squares.
    """
    same_grid("attention", student_tokens, teacher_tokens)
    return (_activity(student_tokens) - _activity(teacher_tokens)).square().sum(1).mean()


def _activity(tokens: Tensor) -> Tensor:
    return F.normalize(tokens.square().sum(1).flatten(1), dim=1)


def highfreq(projected_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Difference of the fine detail of projected and teacher's tokens [B, C, h, w], h and w at least 2.

    L1 between H(X) = X − Up₂(AvgPool₂(X)) of both maps. H is the sum of the three detail bands of a one-level Haar
    transform; frequency bands as a target as in FreeKD (Zhang et al. 2024, arXiv:2311.12079).
    """
    same_shape("highfreq", projected_tokens, teacher_tokens)
    return F.l1_loss(_detail(projected_tokens), _detail(teacher_tokens))


def _detail(tokens: Tensor) -> Tensor:
    if min(tokens.shape[-2:]) < 2:
        raise PokeflowError(
            f"losses.highfreq: a token map of {tokens.shape[-2]}×{tokens.shape[-1]} has no detail; "
            "take larger images or leave the term out."
        )
    height, width = (side // 2 * 2 for side in tokens.shape[-2:])
    even = tokens[..., :height, :width]
    return even - F.interpolate(F.avg_pool2d(even, 2), scale_factor=2.0, mode="nearest")


def task(student: Tensor, labels: Tensor, margin_loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """How badly embeddings [B, D] tell the cards ``labels`` [B] apart: the criterion of ``margin`` (``arcface``)."""
    return margin_loss(student, labels)


def arcface(margin: Margin, proxies: Tensor) -> SubCenterArcFaceLoss:
    """Sub-centre ArcFace whose centres begin at ``proxies`` [N, D]; call it with embeddings and labels in 0…N−1.

    A card's additional centres begin beside the first one. Deng et al. 2020, Sub-center ArcFace (ECCV);
    Deng et al. 2019, arXiv:1801.07698.
    """
    loss = SubCenterArcFaceLoss(
        num_classes=len(proxies),
        embedding_size=proxies.shape[1],
        margin=math.degrees(margin.angle),
        scale=margin.scale,
        sub_centers=margin.centers,
    )
    centers = F.normalize(proxies.detach().float(), dim=1).repeat_interleave(margin.centers, 0)
    first = torch.arange(len(centers), device=centers.device) % margin.centers == 0
    # The same draw whenever and wherever: these values are part of a model's digest.
    noise = torch.randn(centers.shape, generator=torch.Generator().manual_seed(0)).to(centers.device)
    centers = centers + noise * (0.1 / math.sqrt(centers.shape[1])) * ~first[:, None]
    loss.W.data = centers.T.contiguous()
    return loss


def same_shape(term: str, student: Tensor, teacher: Tensor) -> None:
    """Refuse tokens of different shape; broadcasting would give a number that means nothing."""
    if student.shape != teacher.shape:
        raise PokeflowError(
            f"losses.{term}: the student's tokens are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}."
        )


def same_grid(term: str, student: Tensor, teacher: Tensor) -> None:
    """Refuse token maps of different grids, or of one cell, where there is no place to differ in."""
    if student.shape[-2:] != teacher.shape[-2:] or student.shape[-2] * student.shape[-1] < 2:
        raise PokeflowError(
            f"losses.{term}: the token grids {tuple(student.shape[-2:])} and {tuple(teacher.shape[-2:])} can't be "
            "compared; take larger images or leave the term out."
        )
