"""Typed parameters of the ``torch`` backend, and the checks that types cannot express."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal

from pokeflow.errors import unknown
from pokeflow_torch import extensions, weights
from pokeflow_torch.extensions import LOSSES, NETWORKS


@dataclass(frozen=True, slots=True)
class Network:
    """A backbone, and the size of the embedding that a linear head computes from its features.

    Attributes:
        name: Model of timm, or a network of another distribution (entry point group ``pokeflow_torch.networks``).
        pretrained: Load timm's published weights, which needs network access.
        weights: Published weights to start from: the path of a local state dict (``.safetensors``, or a torch file that
            contains only tensors), ``package:<distribution>`` for the file that an installed distribution ships, or
            the ``s3://`` URI of an object. EfficientNet-Lite's published names are translated to timm's.
        weights_sha256: SHA-256 that the weights must have; required for an object in S3.
        options: Keyword arguments of the network's constructor (``embed_dim``, ``depth``, ``patch_size``,
            ``init_values``, ``drop_path_rate`` …), except the image size, which follows from the data set's
            preprocessing.
        embedding_dim: Number of values of an embedding.
        grid: 1: the head reads the pooled features. Above 1 it also reads the token map averaged to ``grid`` × ``grid``
            cells, because the position of something on a card helps to recognize the card.

    """

    name: str
    pretrained: bool = False
    weights: str | None = field(default=None, metadata={"digest": False})
    weights_sha256: str | None = field(default=None, metadata={"digest": False})
    options: dict[str, int | float | str | bool] = field(default_factory=dict)
    embedding_dim: int = 128
    grid: int = 1


@dataclass(frozen=True, slots=True)
class Optim:
    """AdamW with a linear warm-up and a cosine decay to zero.

    Attributes:
        lr: Peak learning rate.
        weight_decay: AdamW's weight decay.
        warmup: Fraction of all steps with a growing learning rate.
        clip: Maximum gradient norm; larger gradients are scaled down.
        ema: Decay of the exponential moving average of the weights, which becomes the model; None: the last weights.

    """

    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    ema: float | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """Length, batch size, precision, validation and checkpoint settings of the training loop.

    Attributes:
        epochs: Number of epochs.
        batch_size: Views per batch, over all processes together. Views that do not fill a last batch are left out of
            that epoch.
        views: Number of different views of each training card per epoch.
        seed: Seed of weights, order and augmentation.
        precision: Mixed precision of Accelerate.
        checkpoint_seconds: Minimum time between two checkpoints.
        validate_every: Number of epochs between two validations; 0 validates at the end only.
        keep_checkpoint: Store the last training state in the output, next to the model. It is about four times the
            size of the weights.

    """

    epochs: int = 30
    batch_size: int = 64
    views: int = 1
    seed: int = 0
    precision: Literal["no", "bf16", "fp16"] = "no"
    checkpoint_seconds: float = field(default=30.0, metadata={"digest": False})
    validate_every: int = 0
    keep_checkpoint: bool = True


@dataclass(frozen=True, slots=True)
class Margin:
    """Parameters of sub-centre ArcFace.

    Attributes:
        angle: Angular margin in radians.
        scale: Scale of the cosines. The ``kl`` term uses it too: its softmax is over scale · cosine / temperature.
        centers: Centres per card.

    """

    angle: float = 0.2
    scale: float = 32.0
    centers: int = 1


@dataclass(frozen=True, slots=True)
class TrainParams:
    """Parameters of stage ``train``.

    Attributes:
        network: Network to train.
        optim: AdamW with a linear warm-up and a cosine decay to zero.
        loop: Length, precision, validation and checkpoints of the training.
        margin: Sub-centre ArcFace, the loss.
        augment: Strength of the training views: 0 clean cards, 1 simulated phone photos, 2 bad photos.

    """

    network: Network
    optim: Optim = field(default_factory=Optim)
    loop: Loop = field(default_factory=Loop)
    margin: Margin = field(default_factory=Margin)
    augment: float = 1.0


@dataclass(frozen=True, slots=True)
class DistillParams:
    """Parameters of stage ``distill``.

    The two stages of distillation differ in these values only: stage 2 also weights ``task`` and starts from the
    weights of its parent student.

    Attributes:
        network: Network of the student.
        losses: Weight of each term by name. The terms are those of ``pokeflow_torch.losses`` and of other distributions
            (entry point group ``pokeflow_torch.losses``).
        temperature: Temperature of the ``kl`` term; a higher one gives softer distributions.
        optim: AdamW with a linear warm-up and a cosine decay to zero.
        loop: Length, precision, validation and checkpoints of the training.
        margin: Sub-centre ArcFace, the ``task`` term.
        augment: Strength of the training views: 0 clean cards, 1 simulated phone photos, 2 bad photos.

    """

    network: Network
    losses: dict[str, float]
    temperature: float = 4.0
    optim: Optim = field(default_factory=Optim)
    loop: Loop = field(default_factory=Loop)
    margin: Margin = field(default_factory=Margin)
    augment: float = 1.0


@dataclass(frozen=True, slots=True)
class ProfileParams:
    """Parameters of stage ``profile``.

    One further step runs before all others, and records the statistics of every tensor.

    Attributes:
        steps: Number of timed training steps.
        warmup: Number of training steps before the timed ones.
        traced: Number of training steps that torch.profiler records.
        max_seconds: Time after which timing ends early, but not before the third step.
        sample_seconds: Interval between two samples of the machine's metrics.

    """

    steps: int = 6
    warmup: int = 1
    traced: int = 1
    max_seconds: float = 20.0
    sample_seconds: float = 0.1


def check_profile(params: ProfileParams) -> Iterator[tuple[str, str]]:
    """Yield the faults of a ``profile`` task's parameters as (parameter, message) pairs."""
    yield from _outside("", params, steps=(3, 1000), warmup=(0, 1000), traced=(1, 20))
    yield from _outside("", params, max_seconds=(0.1, 3600), sample_seconds=(0.02, 60))


def check_train(params: TrainParams) -> Iterator[tuple[str, str]]:
    """Yield the faults of a ``train`` task's parameters as (parameter, message) pairs."""
    network, optim = params.network, params.optim
    if not network.name:
        yield "network.name", "is empty. Set a network of timm, such as vit_small_patch16_dinov3."
    if network.pretrained and network.weights:
        yield "network", "'pretrained' and 'weights' are both set. Remove one of them."
    if weights_fault := weights.fault(network.weights, network.weights_sha256):
        yield weights_fault
    for option in sorted({"img_size", "num_classes", "in_chans"} & set(network.options)):
        yield f"network.options.{option}", "is determined by the data set. Remove it."
    if optim.lr == 0:
        yield "optim.lr", "0 would leave the weights unchanged. Set a positive number."
    if optim.clip == 0:
        yield "optim.clip", "0 would set every gradient to zero. Set a positive number."
    if optim.ema is not None and not 0 < optim.ema < 1:
        yield "optim.ema", f"{optim.ema} is not between 0 and 1."
    yield from _outside("network", network, embedding_dim=(1, 65536), grid=(1, 64))
    yield from _outside("optim", optim, lr=(0, 1), weight_decay=(0, 10), warmup=(0, 1), clip=(0, math.inf))
    # Batch normalization needs at least two samples in a batch.
    yield from _outside("loop", params.loop, epochs=(1, math.inf), batch_size=(2, math.inf), views=(1, math.inf))
    yield from _outside("loop", params.loop, seed=(0, math.inf), validate_every=(0, math.inf))
    yield from _outside("margin", params.margin, angle=(0, 1.5), scale=(1, 1000), centers=(1, 16))
    yield from _outside("", params, augment=(0, 2))


def check_distill(params: DistillParams) -> Iterator[tuple[str, str]]:
    """Yield the faults of a ``distill`` task's parameters as (parameter, message) pairs."""
    yield from check_train(
        TrainParams(params.network, params.optim, params.loop, params.margin, params.augment),
    )
    valid_terms = extensions.entries(LOSSES)
    for name, weight in params.losses.items():
        if name not in valid_terms:
            yield f"losses.{name}", unknown("", "loss term", name, valid_terms).message
        elif weight < 0:
            yield f"losses.{name}", f"weight {weight} is negative."
    if not any(weight > 0 for weight in params.losses.values()):
        yield "losses", f"no term has a positive weight. Known: {', '.join(sorted(valid_terms))}."
    if params.temperature <= 0:
        yield "temperature", f"{params.temperature} is not a positive number."


def _outside(path: str, values: object, **limits: tuple[float, float]) -> Iterator[tuple[str, str]]:
    for name, (low, high) in limits.items():
        value = getattr(values, name)
        if not low <= value <= high:
            bounds = f"at least {low}" if high == math.inf else f"between {low} and {high}"
            yield f"{path}.{name}".lstrip("."), f"{value} is not {bounds}."


def fingerprint(params: TrainParams | DistillParams) -> str:
    """Return the identity of initial weights and third-party code that a result depends on besides the parameters.

    Weights are identified by their SHA-256, timm's pretrained weights by timm's version, and a loss or network of
    another distribution by the name and version of that distribution. The text is empty if none of these is used.

    Raises:
        PokeflowError: If the weights file cannot be read.

    """
    network = params.network
    losses = params.losses if isinstance(params, DistillParams) else {}
    extension_origins = (
        *extensions.origins(NETWORKS, [network.name]),
        *extensions.origins(LOSSES, [name for name, weight in losses.items() if weight > 0]),
    )
    published = f"timm {version('timm')}" if network.pretrained else ""
    if network.weights:
        published = weights.describe(network.weights, network.weights_sha256).sha256
    return ", ".join(filter(None, (published, *extension_origins)))


def describe_weights(network: Network) -> str:
    """Return in words the weights that a network starts from."""
    if network.pretrained:
        return f"timm's published weights (timm {version('timm')})"
    return str(weights.describe(network.weights, network.weights_sha256)) if network.weights else "random weights"
