"""Distillation losses between the embeddings and token maps of a teacher and a student, with their sources.

The teacher's tokens are standardized per channel, with mean 0 and variance 1 over its training cards, so that no
channel outweighs the others (PHI-S, Ranzinger et al. 2024, arXiv:2410.01680). Every term is a mean over the batch. A
term that cannot be computed raises an error, because a value of 0 would look like a success.

Each term is an entry point of the group ``pokeflow_torch.losses``, like the terms of other distributions. A term
receives the inputs (``INPUTS``) that its parameters name; other parameters must have a default value, which is used.
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
"""Weight of the token part in the feature term."""
PROJECTED, MARGIN = "projected_tokens", "margin_loss"
INPUTS = (
    *("student", "teacher", "student_tokens", PROJECTED, "teacher_tokens"),
    *("labels", "bank", "temperature", "scale", MARGIN),
)
"""Inputs that a term can have as parameters.

``student`` and ``teacher`` are embeddings [B, D]; ``student_tokens`` and ``teacher_tokens`` are token maps
[B, C, h, w] on the same grid; ``projected_tokens`` are the student's tokens projected to the teacher's channels.
``labels`` [B] are the cards, ``bank`` [N, D] the teacher's embeddings of all training cards. ``temperature`` and
``scale`` (``margin.scale``) are parameters. ``margin_loss`` is the loss of ``margin`` over embeddings and labels."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss term: its name, its function, and the names of the ``INPUTS`` that it is called with."""

    name: str
    function: Callable[..., Tensor]
    inputs: tuple[str, ...]

    @property
    def needs_projector(self) -> bool:
        """True if the term needs the projected student tokens; their 1×1 convolution is trained with the student."""
        return PROJECTED in self.inputs

    @property
    def needs_margin(self) -> bool:
        """True if the term needs the margin loss, whose centres are trained with the student."""
        return MARGIN in self.inputs


def load(names: Iterable[str]) -> dict[str, Loss]:
    """Load the terms of these names, in their order.

    Raises:
        PokeflowError: If no distribution has a term of this name, if it cannot be imported, or if its function has a
            parameter without default that is not one of ``INPUTS``.

    """
    registered = extensions.entries(extensions.LOSSES)
    terms: dict[str, Loss] = {}
    for name in names:
        if name not in registered:
            raise PokeflowError(str(unknown(f"losses.{name}", "loss term", name, registered)))
        function = extensions.load(extensions.LOSSES, name)
        inputs = tuple(
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.name in INPUTS or parameter.default is parameter.empty
        )
        if unknown_inputs := [name for name in inputs if name not in INPUTS]:
            raise PokeflowError(
                str(unknown(f"losses.{name}: {registered[name].value}", "input", unknown_inputs[0], INPUTS))
            )
        terms[name] = Loss(name, function, inputs)
    return terms


def feature(student: Tensor, teacher: Tensor, projected_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Compute the distance of the student's embeddings and projected tokens to the teacher's; the minimum is 0.

    mean(1 − cos(z_s, z_t)) + ½·[0.9·(1 − cos(P·F, T)) + 0.1·SmoothL1(P·F, T)], the token part as in AM-RADIO
    (Ranzinger et al. 2024, arXiv:2312.06709). P is a 1×1 convolution that is dropped after training.

    Args:
        student: Embeddings z_s [B, D] of the student.
        teacher: Embeddings z_t [B, D] of the teacher.
        projected_tokens: The student's tokens P·F [B, C, h, w].
        teacher_tokens: The teacher's tokens T [B, C, h, w].

    Returns:
        A scalar, the mean over the batch.

    Raises:
        PokeflowError: If the two token maps differ in shape.

    """
    same_shape("feature", projected_tokens, teacher_tokens)
    angle = 1 - F.cosine_similarity(projected_tokens, teacher_tokens, dim=1).mean()
    local = 0.9 * angle + 0.1 * F.smooth_l1_loss(projected_tokens, teacher_tokens)
    return (1 - F.cosine_similarity(student, teacher, dim=1)).mean() + LOCAL * local


def kl(student: Tensor, teacher: Tensor, bank: Tensor, temperature: float, scale: float) -> Tensor:
    """Compute the KL divergence of the student's similarities to a bank of embeddings from the teacher's.

    KL(softmax(s·cos(z_t, G)/T) ‖ softmax(s·cos(z_s, G)/T))·T²: the logits of a cosine classifier of scale s whose
    weights are the bank G, softened by T, with T² to keep the size of the gradient (Hinton et al. 2015,
    arXiv:1503.02531); similarities to a bank replace the classes as in SEED (Fang et al. 2021, arXiv:2101.04731).

    Args:
        student: Embeddings z_s [B, D] of the student.
        teacher: Embeddings z_t [B, D] of the teacher.
        bank: The teacher's embeddings G [N, D] of the training cards, N at least 2.
        temperature: T, positive.
        scale: S, the scale of the cosines.

    Returns:
        A scalar, the mean over the batch.

    Raises:
        PokeflowError: If the bank has fewer than two rows.

    """
    if len(bank) < 2:
        raise PokeflowError(
            "losses.kl: the teacher's bank has fewer than two references, so there is nothing to rank. "
            "Prepare more training cards."
        )
    references = F.normalize(bank, dim=1)
    sharpness = scale / temperature
    student_logp = F.log_softmax(F.normalize(student, dim=1) @ references.T * sharpness, dim=1)
    teacher_logp = F.log_softmax(F.normalize(teacher, dim=1) @ references.T * sharpness, dim=1)
    return F.kl_div(student_logp, teacher_logp, reduction="batchmean", log_target=True) * temperature**2


def attention(student_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Compute the difference between the spatial activity of two token maps.

    Activation-based spatial attention transfer with Q = Σ_c F_c²: mean over the batch of
    ‖Q_s/‖Q_s‖₂ − Q_t/‖Q_t‖₂‖₂² (Zagoruyko and Komodakis 2017, arXiv:1612.03928, the map F²_sum). The paper's text
    uses the norm of the difference, its published code the mean of squares; this is the sum of squares.

    Args:
        student_tokens: The student's tokens [B, C_s, h, w].
        teacher_tokens: The teacher's tokens [B, C_t, h, w].

    Returns:
        A scalar, the mean over the batch.

    Raises:
        PokeflowError: If the grids differ or have a single cell.

    """
    same_grid("attention", student_tokens, teacher_tokens)
    return (_activity(student_tokens) - _activity(teacher_tokens)).square().sum(1).mean()


def _activity(tokens: Tensor) -> Tensor:
    return F.normalize(tokens.square().sum(1).flatten(1), dim=1)


def highfreq(projected_tokens: Tensor, teacher_tokens: Tensor) -> Tensor:
    """Compute the L1 distance between the high frequencies of two token maps.

    The distance is between H(X) = X − Up₂(AvgPool₂(X)) of both maps. H is the sum of the three detail bands of a
    one-level Haar transform; frequency bands are a target as in FreeKD (Zhang et al. 2024, arXiv:2311.12079). An odd
    last row or column is left out.

    Args:
        projected_tokens: The student's projected tokens [B, C, h, w], h and w at least 2.
        teacher_tokens: The teacher's tokens [B, C, h, w].

    Returns:
        A scalar, the mean over all values.

    Raises:
        PokeflowError: If the shapes differ, or a side of the token map is below 2.

    """
    same_shape("highfreq", projected_tokens, teacher_tokens)
    return F.l1_loss(_detail(projected_tokens), _detail(teacher_tokens))


def _detail(tokens: Tensor) -> Tensor:
    if min(tokens.shape[-2:]) < 2:
        raise PokeflowError(
            f"losses.highfreq: a token map of {tokens.shape[-2]}×{tokens.shape[-1]} is too small "
            "for this term. Use larger images or remove the term."
        )
    height, width = (side // 2 * 2 for side in tokens.shape[-2:])
    even = tokens[..., :height, :width]
    return even - F.interpolate(F.avg_pool2d(even, 2), scale_factor=2.0, mode="nearest")


def task(student: Tensor, labels: Tensor, margin_loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Compute the margin loss of the student's embeddings, the loss of the task itself (see ``arcface``).

    Args:
        student: Embeddings [B, D] of the student.
        labels: Cards [B], as rows of the centres of ``margin_loss``.
        margin_loss: Sub-centre ArcFace.

    Returns:
        A scalar, the mean over the batch.

    """
    return margin_loss(student, labels)


def arcface(margin: Margin, proxies: Tensor) -> SubCenterArcFaceLoss:
    """Create a sub-centre ArcFace loss whose centres are initialized from ``proxies``.

    Further centres of a card are initialized near its first one, with noise from a fixed seed. Sources: Deng et al.
    2020, Sub-center ArcFace (ECCV); Deng et al. 2019, arXiv:1801.07698.

    Args:
        margin: Angular margin in radians, scale and number of centres per card.
        proxies: Initial centres [N, D], one per card; they are scaled to length 1.

    Returns:
        A loss; call it with embeddings [B, D] and labels [B] in 0…N−1.

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
    # A fixed seed on the CPU: a result must not depend on the time or the device.
    noise = torch.randn(centers.shape, generator=torch.Generator().manual_seed(0)).to(centers.device)
    centers = centers + noise * (0.1 / math.sqrt(centers.shape[1])) * ~first[:, None]
    loss.W.data = centers.T.contiguous()
    return loss


def same_shape(term: str, student: Tensor, teacher: Tensor) -> None:
    """Raise a PokeflowError for token maps of different shapes, which broadcasting would compare without an error."""
    if student.shape != teacher.shape:
        raise PokeflowError(
            f"losses.{term}: the student's tokens are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}; "
            "this term needs equal shapes."
        )


def same_grid(term: str, student: Tensor, teacher: Tensor) -> None:
    """Raise a PokeflowError for token maps of different grids, or of one cell, whose attention is always equal."""
    if student.shape[-2:] != teacher.shape[-2:] or student.shape[-2] * student.shape[-1] < 2:
        raise PokeflowError(
            f"losses.{term}: the token grids {tuple(student.shape[-2:])} and {tuple(teacher.shape[-2:])} cannot "
            "be compared: they must be equal and have more than one cell. Use larger images or remove the term."
        )
