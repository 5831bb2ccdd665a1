"""A training step, divided into phases; training and profiling run the same code."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pokeflow.errors import PokeflowError
from pokeflow_torch import augment, distributed
from pokeflow_torch.networks import Embedder
from pokeflow_torch.params import Optim

PHASES = ("load", "augment", "forward", "backward", "optimizer", "average")
"""The phases of a step in order; little time passes between them."""


@dataclass(frozen=True, slots=True)
class Cards:
    """Training cards: one uint8 image each [N, S, S, 3], and the mean and std that normalize the input."""

    images: np.ndarray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Learner(nn.Module):
    """Base class of trainable modules: ``network`` is shipped, further modules of the loss are not.

    ``forward`` takes normalized views [B, 3, S, S] and their labels [B] (positions in ``Cards.images``) and returns
    the terms of the loss by name; the term "loss" is minimized.
    """

    network: Embedder


@dataclass(frozen=True, slots=True)
class StepSettings:
    """Settings common to all steps: cards, optimizer, augmentation strength, seed and total number of steps."""

    cards: Cards
    optim: Optim
    strength: float
    seed: int
    total: int


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a step: learning rate, means of the terms over the whole batch, and a signal that arrived meanwhile.

    ``norm`` is the norm of the gradient before clipping, a scalar that is still on the device.
    """

    lr: float
    values: dict[str, float]
    norm: Tensor
    signal: int | None


class Stepper:
    """A learner on its device with its optimizer, and the averaged network that is shipped.

    The context manager ``phase`` is entered around each of ``PHASES``. Only the first process updates the average.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        task: str,
        learner: Learner,
        plan: StepSettings,
        phase: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.accelerator, self.task, self.plan, self.phase = accelerator, task, plan, phase
        self.layout = torch.channels_last if learner.network.convolutional else torch.contiguous_format
        self.learner = learner.to(accelerator.device).to(memory_format=self.layout)
        self.shadow = copy.deepcopy(learner.network).eval().requires_grad_(False)
        self.optimizer: Any = torch.optim.AdamW(groups(learner, plan.optim.weight_decay), lr=plan.optim.lr)
        self.model: Any = None
        self.mean, self.std = (
            torch.tensor(v, device=accelerator.device).view(1, 3, 1, 1) for v in (plan.cards.mean, plan.cards.std)
        )

    def begin(self, state: dict[str, Any] | None = None) -> None:
        """Prepare the first step, or resume from ``state``; the other processes receive the state of the first one.

        Args:
            state: A state that ``state`` returned; only the first process passes one.

        """
        if state is not None:
            self.learner.load_state_dict(state["learner"])
            self.shadow.load_state_dict(state["shadow"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.model, self.optimizer = self.accelerator.prepare(self.learner, self.optimizer)
        distributed.share_moments(self.accelerator, self.optimizer.optimizer)
        if (scaler := self.accelerator.scaler) is not None:
            current = state["scaler"] if state is not None else scaler.state_dict()
            scaler.load_state_dict(distributed.run_on_main(self.accelerator, lambda: current))

    def state(self) -> dict[str, Any]:
        """Return the state that later steps depend on, except the step number."""
        return {
            "learner": self.learner.state_dict(),
            "shadow": self.shadow.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {},
        }

    def train_step(
        self, step: int, batch: np.ndarray, stop_signal: Callable[[], int | None] = lambda: None
    ) -> StepResult:
        """Run one training step on the cards of ``batch``, which the processes share out.

        Args:
            step: Number of the step, from 0.
            batch: Labels [B] of the whole batch.
            stop_signal: Returns the signal that this process has received, or None.

        Returns:
            Learning rate, terms and gradient norm of the step, and a signal that any process has received.

        Raises:
            PokeflowError: If the loss is not finite, or ``batch`` has fewer than two views per process.

        """
        accelerator, plan = self.accelerator, self.plan
        rank, processes, device = accelerator.process_index, accelerator.num_processes, accelerator.device
        share = distributed.batch_share(accelerator, len(batch))
        self.learner.train()
        generator = reseed(plan.seed, step, rank)
        labels = batch[rank::processes]
        with self.phase("load"):
            images = _pixels(plan.cards, labels, device)
        with self.phase("augment"):
            images = augment.views(images, generator, plan.strength)
            images = ((images - self.mean) / self.std).contiguous(memory_format=self.layout)
        with self.phase("forward"), accelerator.autocast():
            terms: dict[str, Tensor] = self.model(images, torch.from_numpy(labels).to(device))
        values = {name: float(term.detach()) for name, term in terms.items()}
        summary = distributed.reduce_step(accelerator, values, share, stop_signal())
        if not math.isfinite(summary.values["loss"]):
            raise PokeflowError(
                f"{self.task}: the loss is {summary.values['loss']} at step {step} of {plan.total}. Lower optim.lr "
                f"({plan.optim.lr}), lengthen optim.warmup ({plan.optim.warmup}) or set loop.precision to 'no', then "
                "run again."
            )
        with self.phase("backward"):
            # Gradients are averaged over the processes, so a process with a larger part must have a larger weight.
            weight = share * processes
            accelerator.backward(terms["loss"] if weight == 1 else terms["loss"] * weight)
        with self.phase("optimizer"):
            norm: Tensor = accelerator.clip_grad_norm_(self.learner.parameters(), plan.optim.clip)
            lr = plan.optim.lr * rate(step, plan.total, plan.optim.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self.optimizer.zero_grad()
        with self.phase("average"):
            if accelerator.is_main_process:
                average(self.shadow, self.learner.network, plan.optim.ema, step)
        return StepResult(lr, summary.values, norm, summary.signal)


def rate(step: int, total: int, warmup: float) -> float:
    """Return the share of the peak learning rate at ``step``: linear warm-up, then half a cosine down to 0.

    The cosine is that of SGDR without restarts (Loshchilov and Hutter 2017).

    Args:
        step: Number of the step, from 0.
        total: Number of all steps.
        warmup: Share of all steps that warm up.

    """
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def groups(learner: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return AdamW's parameter groups: tensors of two or more dimensions decay; biases, norms and vectors do not."""
    weights = [p for p in learner.parameters() if p.requires_grad]
    return [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]


def reseed(seed: int, step: int, rank: int) -> torch.Generator:
    """Seed torch for a step (drop path, dropout), and return a new generator with the same seed for its views."""
    words = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]))
    return torch.Generator().manual_seed(int(words[0]))


def _pixels(cards: Cards, labels: np.ndarray, device: torch.device) -> Tensor:
    images = torch.from_numpy(cards.images[labels]).to(device)
    return images.permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def average(shadow: nn.Module, network: nn.Module, decay: float | None, step: int) -> None:
    """Update ``shadow`` with an exponential moving average of the weights of ``network``.

    The decay is min(decay, (1 + step) / (10 + step)): it is small at first, so that the initial weights are forgotten.
    With ``decay`` None the weights are copied. Values that are not floating point are always copied.

    Args:
        shadow: The averaged network, updated in place.
        network: The trained network.
        decay: Decay of the average, or None.
        step: Number of the step, from 0.

    """
    share = 1.0 if decay is None else 1 - min(decay, (1 + step) / (10 + step))
    for old, new in zip(shadow.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, share)
        else:
            old.copy_(new)
